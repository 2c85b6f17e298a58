import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problem } from '../errors.ts'
import { Broadcast, Email } from './schemas.ts'

const schema = {
  querystring: Type.Object({ email: Email }, { additionalProperties: false }),
  response: { 200: Broadcast }
}

/** `GET /broadcast/lookup?email=`: where the peer with this e-mail address listens. */
const lookup: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.get('/broadcast/lookup', { schema, onRequest: fastify.authenticate }, async ({ query, deadline }) => {
    const broadcast = await fastify.repository.findBroadcast(query.email.toLowerCase(), deadline)
    // One answer for offline and unknown: who is registered is nobody's business.
    if (!broadcast) throw problem(404, 'peer_not_found', 'no peer with this e-mail address is online')
    return broadcast
  })
}

export default lookup
