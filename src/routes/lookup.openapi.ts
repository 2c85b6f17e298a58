import { TAGS } from '../openapi/document.ts'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../openapi/examples.ts'
import { content, header, type Operation, problems } from '../openapi/operation.ts'
import { UNREADABLE } from '../openapi/responses.ts'

export const lookup: Operation = {
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
    400: problems('The query names no peer.', {
      invalid_email: 'email is missing: name the peer by email, or else by fingerprint',
      invalid_fingerprint: 'fingerprint must be the SHA-256 of a certificate in base64url: 43 characters',
      invalid_request: 'unknown member: name',
      ...UNREADABLE
    }),
    404: problems(
      'Offline or unknown: one answer for both.',
      { peer_not_found: 'no such peer is online' },
      {
        'Retry-After': header('seconds after which to look again: the more such lookups there are, the longer', {
          type: 'integer',
          minimum: 60,
          maximum: 3600
        })
      }
    )
  }
}
