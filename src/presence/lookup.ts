import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { ALICE, BROADCAST, CURL_AS_BOB, ROTATED } from '../http/openapi-examples.ts'
import { answer, Email, examples, Fingerprint, JSON_TYPE } from '../http/shared-schemas.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { Broadcast } from './broadcast-schema.ts'
import { createMissPacer } from './retry-after.ts'

const NO_NAME = 'email is missing: name the peer by email, or else by fingerprint'

const schema = {
  operationId: 'lookup',
  tags: ['Broadcast'],
  summary: 'Where a peer listens',
  description: `By \`email\`, or, to find out who is calling, by \`fingerprint\`: exactly one of them. Case makes no difference to an e-mail
address. An offline peer and an unknown one get the same answer.

\`rotations\` is for callers that knew an earlier certificate of the peer: it leads from that one to the present one, as far as the peer
signed its rotations (\`POST /certificate\`). Check each signature yourself; the tracker only passes them on.`,
  command: `${CURL_AS_BOB} "$relay/broadcast/lookup?email=alice@example.com"`,
  querystring: Type.Object(
    {
      email: Type.Optional({ ...Email, ...examples({ alice: ALICE.email }) }),
      fingerprint: Type.Optional({ ...Fingerprint, ...examples({ alice: ALICE.fingerprint }) })
    },
    { additionalProperties: false }
  ),
  response: { 200: answer('The peer is online.', Broadcast, { alice: BROADCAST, rotated: ROTATED }) },
  errors: [['invalid_email', NO_NAME], 'invalid_fingerprint', 'invalid_request', 'peer_not_found']
} satisfies FastifySchema

/** `GET /broadcast/lookup`: where the peer with this `email`, or with this `fingerprint`, listens. */
const lookup: FastifyPluginAsyncTypebox = async (fastify) => {
  const { broadcasts } = fastify.repository
  const retryAfter = createMissPacer()

  fastify.get('/broadcast/lookup', { schema }, async (request, reply) => {
    const caller = request.caller()
    const { email, fingerprint } = request.query
    if ((email === undefined) === (fingerprint === undefined)) throw new ApiError('invalid_email', { message: NO_NAME })
    const { json } = await (fingerprint
      ? broadcasts.findByFingerprint(caller, fingerprint)
      : broadcasts.findByEmail(caller, String(email).toLowerCase()))
    fastify.calls.lookedUp(json !== null)
    // The same for an unknown peer, so that nobody learns who is registered.
    if (json === null) throw new ApiError('peer_not_found', { retryAfter: retryAfter() })
    reply.type(JSON_TYPE)
    return json
  })
}

export default lookup
