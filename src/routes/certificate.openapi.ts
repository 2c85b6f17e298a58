import { TAGS } from '../openapi/document.ts'
import { ALICE, CURL_AS_BOB, NEXT } from '../openapi/examples.ts'
import { content, type Operation, problems } from '../openapi/operation.ts'
import { UNACCEPTABLE_CERTIFICATE, UNREADABLE_JSON } from '../openapi/responses.ts'

const validity = { not_before: '2026-01-01T00:00:00.000Z', not_after: '2126-01-02T00:00:00.000Z' }
const inForce = { fingerprint: ALICE.fingerprint, ...validity }

export const getCertificate: Operation = {
  operationId: 'getCertificate',
  tags: [TAGS.certificate],
  summary: 'Which certificate is in force',
  description: 'And the one that is to follow it, or `null`.',
  command: `${CURL_AS_BOB} $relay/certificate`,
  certificate: 'registered',
  responses: {
    200: {
      description: 'The certificates.',
      content: content('application/json', { alone: { value: { ...inForce, pending: null } } })
    }
  }
}

export const rotateCertificate: Operation = {
  operationId: 'rotateCertificate',
  tags: [TAGS.certificate],
  summary: 'Announce the next certificate',
  description: `It is pending until the first request whose TLS handshake presents it: from then on it is in force, and the old one has ended.
Requests under way are still answered. Whoever looks the peer up gets the new fingerprint. Until then it reserves nothing: anyone may
register it, and if several peers announced it, the last one has it. Another \`POST\` replaces it.`,
  command: `${CURL_AS_BOB} --json @certs/bob-next.json $relay/certificate`,
  certificate: 'registered',
  body: { next: { value: { certificate: NEXT.certificate } } },
  responses: {
    200: {
      description: 'It is pending.',
      content: content('application/json', {
        pending: { value: { ...inForce, pending: { fingerprint: NEXT.fingerprint, ...validity } } }
      })
    },
    400: problems('The body is not a certificate that may be registered.', {
      ...UNACCEPTABLE_CERTIFICATE,
      invalid_request: 'unknown member: email',
      ...UNREADABLE_JSON
    }),
    403: problems('The e-mail address is not confirmed yet, or the edge may refuse this kind of certificate.', {
      email_unverified: 'confirm your e-mail address first: follow the link in the mail to it',
      proof_required:
        'not every server accepts this kind of certificate: register again and present it in the TLS handshake'
    }),
    409: problems('Somebody has the certificate.', {
      certificate_taken: 'this certificate is registered already'
    })
  }
}

export const keepCertificate: Operation = {
  operationId: 'keepCertificate',
  tags: [TAGS.certificate],
  summary: 'Withdraw the next certificate',
  description: 'None is to follow, whether one was pending or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/certificate`,
  certificate: 'registered',
  responses: { 204: { description: 'None is pending.' } }
}
