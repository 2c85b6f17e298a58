import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest, FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { callerAddress } from '../http/caller-address.ts'
import { ALICE, CURL, CURL_AS_BOB } from '../http/openapi-examples.ts'
import { answer, Email, examples, Id, noContent } from '../http/shared-schemas.ts'
import { audit } from '../observability/audit.ts'
import { ApiError, UNACCEPTABLE_CERTIFICATE } from '../runtime/error-catalogue.ts'
import { type Certificate, Pem, parseCertificate, validateCertificate } from './certificate.ts'

/** With verified e-mail and without proof, the answer must not reveal the certificate's address. */
const UNPROVEN_CONFLICT =
  'this certificate is registered already: present it in the TLS handshake to learn whether with this e-mail address'

/** Errors that do not keep a client from unregistering. */
const NO_OBSTACLES = ['email_unverified', 'certificate_expired', 'certificate_not_yet_valid']

/** Seconds. Mails are limited by the hour. */
const MAIL_RETRY_AFTER = 3600

interface Options {
  proof: 'optional' | 'required'
  /** Whether e-mail addresses have to be confirmed. */
  verification: boolean
}

interface Registration {
  email: string
  certificate: Certificate
  isProven: boolean
}

const tags = ['Registration']

const registerSchema = {
  operationId: 'register',
  tags,
  summary: 'Register',
  description: `Makes a client of a certificate and an e-mail address, in which case makes no difference; it is returned in lower case. A peer may
register at every start: the same pair again is \`already_registered\`.

A registration whose TLS handshake presents the certificate is proven: it displaces a mere claim on the certificate by somebody else, and
may leave \`certificate\` out. Any other is \`proof_required\` if the operator wants proof, or if the edge may refuse this kind of certificate.

The certificate must be one PEM block that is valid now or within five minutes: RSA of 2048 to 8192 bits, EC P-256, P-384 or P-521, Ed25519
or Ed448, signed with SHA-2, Ed25519 or Ed448. One that some edge or TLS library could not use is refused, with a code that says why.

With verified e-mail, the answer has \`"email_verification": "pending"\`, and a link is mailed to the address. Until it is confirmed, within 24
hours, the registration reserves nothing. No answer tells whether an address is registered: only a caller that presents the certificate
gets \`already_registered\`; any other gets \`certificate_taken\`.`,
  command: `${CURL} --json @certs/alice.json $relay/register`,
  certificate: 'optional',
  body: Type.Object(
    { email: Email, certificate: Type.Optional(Pem) },
    {
      additionalProperties: false,
      ...examples({
        sent: { email: ALICE.email, certificate: ALICE.certificate },
        presented: { email: ALICE.email }
      })
    }
  ),
  response: {
    200: answer(
      'The client is registered, or will be when its e-mail address is confirmed.',
      Type.Object({ client_id: Id, email_verification: Type.Optional(Type.Literal('pending')) }),
      { registered: { client_id: ALICE.id }, pending: { client_id: ALICE.id, email_verification: 'pending' } }
    )
  },
  errors: [
    ...(['invalid_email', ...UNACCEPTABLE_CERTIFICATE, 'invalid_request', 'proof_required'] as const),
    ...(['certificate_revoked', 'email_taken', 'certificate_taken', 'already_registered', 'too_many_mails'] as const)
  ]
} satisfies FastifySchema

const unregisterSchema = {
  operationId: 'unregister',
  tags,
  summary: 'Leave',
  description: `Deletes the caller and everything about it. Its e-mail address and certificate become free. The holder of the key may
leave even if the certificate has expired or the e-mail address is not confirmed, but not after a revocation.`,
  command: `${CURL_AS_BOB} --request DELETE $relay/register`,
  certificate: 'pending',
  response: { 204: noContent('The caller is gone.') }
} satisfies FastifySchema

/** `/register`: `POST` registers a client, at once or when its e-mail address is confirmed; `DELETE` removes the caller. */
const register: FastifyPluginAsyncTypebox<Options> = async (fastify, { proof, verification }) => {
  const { clients, pendingRegistrations } = fastify.repository

  const count = async ({ refusal }: FastifyRequest) => {
    fastify.calls.registered(refusal?.code ?? (verification ? 'pending' : 'registered'))
  }
  fastify.post('/register', { schema: registerSchema, onResponse: count }, async (request) => {
    const { email, certificate: pem } = request.body
    const presented = request.presentedCertificate()
    if (pem === undefined && !presented) {
      throw new ApiError('invalid_certificate', {
        message: 'certificate is missing: send it, or present it in the TLS handshake'
      })
    }
    const certificate = pem === undefined ? validateCertificate(presented as Buffer) : parseCertificate(pem)
    request.fingerprint = certificate.fingerprint
    const isProven = presented?.equals(certificate.der) ?? false
    if (!isProven && proof === 'required') throw new ApiError('proof_required')
    if (!isProven && fastify.edgeMayRefuse(certificate)) {
      throw new ApiError('proof_required', {
        message: 'present the certificate that you register in the TLS handshake: not every server accepts its kind'
      })
    }
    const registration = { email: email.toLowerCase(), certificate, isProven }
    return verification ? askForConfirmation(registration, request) : registerAtOnce(registration, request)
  })

  fastify.delete('/register', { schema: unregisterSchema }, async (request, reply) => {
    const caller = request.caller()
    await caller.identify().catch((error: ApiError) => {
      if (!NO_OBSTACLES.includes(error.code)) throw error
    })
    const { fingerprint } = caller
    const { clientId, deadline, log } = request
    await clients.remove(fingerprint, deadline)
    audit(log, { event: 'unregister', clientId, fingerprint })
    return reply.code(204).send()
  })

  async function registerAtOnce({ email, certificate, isProven }: Registration, request: FastifyRequest) {
    const { deadline, log } = request
    const result = await clients.register(email, certificate, isProven, deadline)
    if ('conflict' in result) throw new ApiError(result.conflict)
    const { id: clientId, displaced } = result
    request.clientId = clientId
    if (displaced !== null) audit(log, { event: 'displaced', clientId: displaced, by: clientId })
    audit(log, { event: 'register', clientId, fingerprint: certificate.fingerprint, isProven })
    return { client_id: clientId }
  }

  async function askForConfirmation({ email, certificate, isProven }: Registration, request: FastifyRequest) {
    const { ip, deadline, log } = request
    const conflict = await clients.findConflict(email, certificate, isProven, deadline)
    const message = conflict === 'certificate_taken' && !isProven ? UNPROVEN_CONFLICT : undefined
    if (conflict) throw new ApiError(conflict, { message })
    const sender = callerAddress(ip) ?? null
    const id = await pendingRegistrations.add(email, certificate, isProven, sender, deadline)
    if (!id) throw new ApiError('too_many_mails', { retryAfter: MAIL_RETRY_AFTER })
    request.clientId = id
    audit(log, { event: 'register', clientId: id, fingerprint: certificate.fingerprint, isProven, pending: true })
    return { client_id: id, email_verification: 'pending' as const }
  }
}

export default register
