import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest, FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { ALICE, CURL_AS_BOB, NEXT } from '../http/openapi-examples.ts'
import { answer, examples, Fingerprint, noContent, Timestamp } from '../http/shared-schemas.ts'
import { audit } from '../observability/audit.ts'
import { ApiError, CallerError, UNACCEPTABLE_CERTIFICATE } from '../runtime/error-catalogue.ts'
import { type Certificate, Pem, parseCertificate, validateCertificate } from './certificate.ts'
import { isRotationSigned, Signature } from './rotation-signature.ts'

const NOT_EVERYWHERE =
  'not every server accepts this kind of certificate: register again and present it in the TLS handshake'
const TAKEN = 'this certificate is registered already'

const VALIDITY = { not_before: '2026-01-01T00:00:00.000Z', not_after: '2126-01-02T00:00:00.000Z' }
const CURRENT = { fingerprint: ALICE.fingerprint, ...VALIDITY }

const validity = { fingerprint: Fingerprint, not_before: Timestamp, not_after: Timestamp }
const State = Type.Object({ ...validity, pending: Type.Union([Type.Object(validity), Type.Null()]) })

const tags = ['Certificate']

const showSchema = {
  operationId: 'getCertificate',
  tags,
  summary: 'Which certificate is valid',
  description: 'And which one is `pending`, or `null`.',
  command: `${CURL_AS_BOB} $relay/certificate`,
  response: { 200: answer('The certificates.', State, { alone: { ...CURRENT, pending: null } }) }
} satisfies FastifySchema

const proposeSchema = {
  operationId: 'rotateCertificate',
  tags,
  summary: 'Announce the next certificate',
  description: `It is pending until the first request whose TLS handshake presents it: from then on it is valid, and the old one is not.
Requests in flight are still answered, and lookups return the new fingerprint. Until then it reserves nothing: anyone may
register it, and if several peers announce it, the last one gets it. Another \`POST\` replaces it.

\`signature\` proves to peers that knew the old certificate that its holder chose the new one: with the old key, over
\`relay-tracker rotation v1\`, a line feed, and the DER of the new certificate, in base64url. The algorithm is ECDSA with SHA-256 (ASN.1),
RSA PKCS #1 v1.5 (PSS with a key for PSS alone) with SHA-256, Ed25519 or Ed448, according to the key. From the takeover on, a lookup has it in \`rotations\`, which a
rotation without one empties.`,
  command: `sed 's/"email":"[^"]*",//' certs/bob-next.json |
  ${CURL_AS_BOB} --json @- $relay/certificate`,
  body: Type.Object(
    { certificate: Pem, signature: Type.Optional(Signature) },
    {
      additionalProperties: false,
      ...examples({
        next: { certificate: NEXT.certificate },
        signed: { certificate: NEXT.certificate, signature: NEXT.signature }
      })
    }
  ),
  response: {
    200: answer('It is pending.', State, {
      pending: { ...CURRENT, pending: { fingerprint: NEXT.fingerprint, ...VALIDITY } }
    })
  },
  errors: [
    ...UNACCEPTABLE_CERTIFICATE,
    'invalid_signature',
    ['invalid_request', 'unknown member: email'],
    ['proof_required', NOT_EVERYWHERE],
    ['certificate_taken', TAKEN]
  ]
} satisfies FastifySchema

const withdrawSchema = {
  operationId: 'keepCertificate',
  tags,
  summary: 'Withdraw the next certificate',
  description: 'Succeeds whether one was pending or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/certificate`,
  response: { 204: noContent('None is pending.') }
} satisfies FastifySchema

/** `/certificate`: `GET` shows the caller's certificate and the next one, `POST` announces the next one, `DELETE` withdraws it. */
const rotation: FastifyPluginAsyncTypebox = async (fastify) => {
  const { rotations } = fastify.repository

  fastify.get('/certificate', { schema: showSchema }, async (request) => {
    const caller = request.caller()
    await caller.identify()
    return state(caller.fingerprint, request.deadline)
  })

  fastify.post('/certificate', { schema: proposeSchema }, async (request) => {
    const { id: clientId } = await request.caller().identify()
    const { body, fingerprint, deadline, log } = request
    const next = parseCertificate(body.certificate)
    checkPresentable(next, request)
    const signature = body.signature === undefined ? null : Buffer.from(body.signature, 'base64url')
    if (signature && !isRotationSigned(request.presentedCertificate() as Buffer, next.der, signature)) {
      throw new ApiError('invalid_signature')
    }
    const refusal = await rotations.propose(fingerprint, next, signature, deadline)
    if (refusal === undefined) {
      audit(log, { event: 'rotate', step: 'announced', clientId, fingerprint, next: next.fingerprint })
    }
    const answer = await state(fingerprint, deadline)
    if (refusal === 'certificate_taken') throw new ApiError(refusal, { message: TAKEN })
    if (refusal) throw new ApiError(refusal)
    return answer
  })

  fastify.delete('/certificate', { schema: withdrawSchema }, async (request, reply) => {
    const { id: clientId } = await request.caller().identify()
    const { fingerprint, deadline, log } = request
    const isWithdrawn = await rotations.withdraw(clientId, deadline)
    if (isWithdrawn) audit(log, { event: 'rotate', step: 'withdrawn', clientId, fingerprint })
    return reply.code(204).send()
  })

  /** A certificate that the edge refuses would stay pending forever. The current one may show that it accepts that kind. */
  function checkPresentable(next: Certificate, request: FastifyRequest) {
    if (!fastify.edgeMayRefuse(next)) return
    const current = validateCertificate(request.presentedCertificate() as Buffer)
    if (fastify.edgeMayRefuse(current)) return
    throw new ApiError('proof_required', { message: NOT_EVERYWHERE })
  }

  async function state(fingerprint: string, deadline: AbortSignal) {
    const found = await rotations.find(fingerprint, deadline)
    if (!found) throw new CallerError('certificate_unknown', 'this certificate is no longer registered')
    return found
  }
}

export default rotation
