import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { TAGS } from '../http/openapi/document.ts'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../http/openapi/examples.ts'
import { content, errors, header, type Operation } from '../http/openapi/operation.ts'
import { UNREADABLE } from '../http/openapi/responses.ts'
import { Email, Fingerprint, JSON_TYPE } from '../http/shared-schemas.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { Broadcast } from './broadcast-schema.ts'
import { createMissPacer } from './retry-after.ts'

const schema = {
  querystring: Type.Object(
    { email: Type.Optional(Email), fingerprint: Type.Optional(Fingerprint) },
    { additionalProperties: false }
  ),
  response: { 200: Broadcast }
}

const LOOKUP: Operation = {
  operationId: 'lookup',
  tags: [TAGS.broadcast],
  summary: 'Where a peer listens',
  description:
    'By `email`, or, for who was called and wants to know by whom, by `fingerprint`: exactly one of them. Case makes no difference to an e-mail address.',
  command: `${CURL_AS_BOB} "$relay/broadcast/lookup?email=alice@example.com"`,
  certificate: 'registered',
  query: {
    email: { alice: { value: ALICE.email } },
    fingerprint: { alice: { value: ALICE.fingerprint } }
  },
  responses: {
    200: { description: 'The peer is online.', content: content('application/json', { alice: { value: BROADCAST } }) },
    400: errors(
      'The query names no peer.',
      ['invalid_email', 'invalid_fingerprint', 'invalid_request', ...UNREADABLE],
      { messages: { invalid_email: 'email is missing: name the peer by email, or else by fingerprint' } }
    ),
    404: errors('Offline or unknown: one answer for both.', ['peer_not_found'], {
      headers: {
        'Retry-After': header('seconds after which to look again: the more such lookups there are, the longer', {
          type: 'integer',
          minimum: 60,
          maximum: 3600
        })
      }
    })
  }
}

/**
 * `GET /broadcast/lookup`: where the peer with this `email` listens, or, for who was called, whose certificate has this
 * `fingerprint`.
 */
const lookup: FastifyPluginAsyncTypebox = async (fastify) => {
  const { broadcasts } = fastify.repository
  const retryAfter = createMissPacer()
  const options = { schema, config: { operation: LOOKUP } }
  fastify.get('/broadcast/lookup', options, async (request, reply) => {
    const caller = request.caller()
    const { email, fingerprint } = request.query
    if ((email === undefined) === (fingerprint === undefined)) {
      throw new ApiError('invalid_email', {
        message: 'email is missing: name the peer by email, or else by fingerprint'
      })
    }
    const { json } = await (fingerprint
      ? broadcasts.findByFingerprint(caller, fingerprint)
      : broadcasts.findByEmail(caller, String(email).toLowerCase()))
    fastify.calls.lookedUp(json !== null)
    // One answer for offline and unknown: who is registered is nobody's business.
    if (json === null) throw new ApiError('peer_not_found', { retryAfter: retryAfter() })
    reply.type(JSON_TYPE)
    return json
  })
}

export default lookup
