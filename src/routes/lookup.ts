import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problem } from '../errors.ts'
import { createMissPacer } from '../pace.ts'
import type { Broadcasts } from '../repository/broadcasts.ts'
import { lookup as operation } from './lookup.openapi.ts'
import { Broadcast, Email, Fingerprint, JSON_TYPE } from './schemas.ts'

const schema = {
  querystring: Type.Object(
    { email: Type.Optional(Email), fingerprint: Type.Optional(Fingerprint) },
    { additionalProperties: false }
  ),
  response: { 200: Broadcast }
}

/**
 * `GET /broadcast/lookup`: where the peer with this `email` listens, or, for who was called, whose certificate has this
 * `fingerprint`.
 */
const lookup: FastifyPluginAsyncTypebox = async (fastify) => {
  const { recent } = fastify.repository
  const retryAfter = createMissPacer()
  const options = { schema, config: { operation }, onRequest: fastify.requireCertificate }
  fastify.get('/broadcast/lookup', options, async (request, reply) => {
    const { deadline } = request
    const { email, fingerprint } = request.query
    if ((email === undefined) === (fingerprint === undefined)) {
      throw problem(400, 'invalid_email', 'email is missing: name the peer by email, or else by fingerprint')
    }
    const find = (caller: string) => (from: Broadcasts) =>
      fingerprint
        ? from.findByFingerprint({ caller, peer: fingerprint }, deadline)
        : from.find({ caller, peer: String(email).toLowerCase() }, deadline)
    // Who has just come, or who asks for the first time, may not be known yet where the recent is read.
    const { json } = await fastify.onBehalfOf(request, (caller) =>
      recent.read(find(caller), (found) => Boolean(found?.json))
    )
    fastify.calls.lookedUp(json !== null)
    // One answer for offline and unknown: who is registered is nobody's business.
    if (json === null) {
      reply.header('retry-after', retryAfter())
      throw problem(404, 'peer_not_found', 'no such peer is online')
    }
    reply.type(JSON_TYPE)
    return json
  })
}

export default lookup
