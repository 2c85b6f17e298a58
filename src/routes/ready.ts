import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { announcedAddresses } from '../address.ts'
import { problem } from '../errors.ts'
import { Capabilities, Port } from './schemas.ts'

/** Bytes of JSON. */
const MAX_CAPABILITIES = 4096

const schema = {
  body: Type.Object(
    {
      port: Port,
      addresses: Type.Array(Type.String(), {
        minItems: 1,
        maxItems: 16,
        description: '1 to 16 IP addresses, as strings'
      }),
      capabilities: Type.Optional(Capabilities)
    },
    { additionalProperties: false }
  ),
  response: { 200: Type.Object({ broadcast_id: Type.String(), expires_in: Type.Integer() }) }
}

/** `POST /broadcast/ready`: puts the caller online for `ttl` seconds; again renews, and replaces what it announced. */
const ready: FastifyPluginAsyncTypebox<{ ttl: number }> = async (fastify, { ttl }) => {
  fastify.post(
    '/broadcast/ready',
    { schema, onRequest: fastify.authenticate },
    async ({ body, client, ip, deadline }) => {
      const { port, capabilities = {} } = body
      checkSize(capabilities)
      const addresses = announcedAddresses(body.addresses, ip)
      const id = await fastify.repository.announce(client.id, { port, addresses, capabilities }, ttl, deadline)
      return { broadcast_id: id, expires_in: ttl }
    }
  )
}

export default ready

function checkSize(capabilities: object) {
  if (Buffer.byteLength(JSON.stringify(capabilities)) > MAX_CAPABILITIES) {
    throw problem(400, 'invalid_capabilities', `capabilities must be at most ${MAX_CAPABILITIES} bytes of JSON`)
  }
}
