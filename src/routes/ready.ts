import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problem } from '../errors.ts'
import { callerAddress } from '../http/caller-address.ts'
import { reannounceAfter } from '../pace.ts'
import { validateAddresses } from '../presence/addresses.ts'
import { announce, getOwn, withdraw } from './ready.openapi.ts'
import { Broadcast, Capabilities, Id, JSON_TYPE, ObservedAddress, Port } from './schemas.ts'

/** Bytes of JSON. */
const MAX_CAPABILITIES = 4096
/** Seconds; a peer that comes more often than that only costs. */
const MIN_TTL = 60

const schema = (maxTtl: number) => ({
  body: Type.Object(
    {
      port: Port,
      addresses: Type.Array(Type.String(), {
        minItems: 1,
        maxItems: 16,
        description: '1 to 16 IP addresses, as strings'
      }),
      capabilities: Type.Optional(Capabilities),
      ttl: Type.Optional(
        Type.Integer({
          minimum: Math.min(MIN_TTL, maxTtl),
          maximum: maxTtl,
          description: `an integer from ${Math.min(MIN_TTL, maxTtl)} to ${maxTtl}, in seconds`
        })
      )
    },
    { additionalProperties: false }
  ),
  response: {
    200: Type.Object({
      broadcast_id: Id,
      expires_in: Type.Integer({ description: 'seconds' }),
      observed_address: ObservedAddress
    })
  }
})

/**
 * The caller's own broadcast. `POST /broadcast/ready` puts it online for `ttl` seconds, or as many as it asks for below that;
 * again renews, and replaces what it announced. `GET` returns it, `DELETE` withdraws it.
 */
const ready: FastifyPluginAsyncTypebox<{ ttl: number }> = async (fastify, { ttl: maxTtl }) => {
  const { broadcasts } = fastify.repository

  fastify.post(
    '/broadcast/ready',
    { schema: schema(maxTtl), config: { operation: announce }, onRequest: fastify.requireCertificate },
    async (request, reply) => {
      const { ip, deadline } = request
      const { port, capabilities = {}, ttl = maxTtl, ...body } = request.body
      checkSize(capabilities)
      const observed = callerAddress(ip)
      const addresses = validateAddresses(body.addresses, observed)
      const announcement = { port, addresses, observed_address: observed ?? null, capabilities, ttl }
      const { id } = await fastify.onBehalfOf(request, (caller) =>
        broadcasts.announce({ caller, ...announcement }, deadline)
      )
      fastify.calls.announced()
      reply.header('reannounce-after', reannounceAfter(ttl))
      return { broadcast_id: id, expires_in: ttl, observed_address: announcement.observed_address }
    }
  )

  const own = {
    schema: { response: { 200: Broadcast } },
    config: { operation: getOwn },
    onRequest: fastify.authenticate
  }
  fastify.get('/broadcast/ready', own, async ({ client, deadline }, reply) => {
    const broadcast = await broadcasts.findOwn(client.id, deadline)
    if (!broadcast) throw problem(404, 'not_online', 'you are not online')
    reply.type(JSON_TYPE)
    return broadcast
  })

  const leave = { config: { operation: withdraw }, onRequest: fastify.authenticate }
  fastify.delete('/broadcast/ready', leave, async ({ client, deadline }, reply) => {
    await broadcasts.withdraw(client.id, deadline)
    return reply.code(204).send()
  })
}

export default ready

function checkSize(capabilities: object) {
  if (Buffer.byteLength(JSON.stringify(capabilities)) > MAX_CAPABILITIES) {
    throw problem(400, 'invalid_capabilities', `capabilities must be at most ${MAX_CAPABILITIES} bytes of JSON`)
  }
}
