import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { callerAddress } from '../http/caller-address.ts'
import { TAGS } from '../http/openapi/document.ts'
import { ALICE, CURL, CURL_AS_BOB } from '../http/openapi/examples.ts'
import { content, errors, type Operation } from '../http/openapi/operation.ts'
import {
  MALFORMED,
  tooManyRequests,
  UNACCEPTABLE_CERTIFICATE,
  UNREADABLE,
  UNREADABLE_JSON
} from '../http/openapi/responses.ts'
import { Email, Id } from '../http/shared-schemas.ts'
import { audit } from '../observability/audit.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import type { Caller } from './authentication.ts'
import { type Certificate, judgeCertificate, Pem, parseCertificate } from './certificate.ts'

const schema = {
  body: Type.Object(
    {
      email: Email,
      certificate: Type.Optional(Pem)
    },
    { additionalProperties: false }
  ),
  response: {
    200: Type.Object({ client_id: Id, email_verification: Type.Optional(Type.Literal('pending')) })
  }
}

/** When addresses are verified and the key was not proven: not to reveal who registered the certificate, or with which address. */
const UNPROVEN_CONFLICT =
  'this certificate is registered already: present it in the TLS handshake to learn whether with this e-mail address'

/** Errors that do not keep a peer from leaving. */
const NO_OBSTACLES = ['email_unverified', 'certificate_expired', 'certificate_not_yet_valid']

/** Seconds for which mails are counted. */
const MAIL_RETRY_AFTER = 3600

interface Options {
  proof: 'optional' | 'required'
  /** Whether a mail to the e-mail address has to be confirmed. */
  verification: boolean
}

interface Registration {
  email: string
  certificate: Certificate
  isProven: boolean
}

const REGISTER: Operation = {
  operationId: 'register',
  tags: [TAGS.registration],
  summary: 'Register',
  description: `Makes a client of a certificate and an e-mail address. Open to everyone; 30 of them a minute from one address (60 at once).

Certificates are public, so anyone could register another's. **The holder of the key wins:** a registration whose TLS
handshake presents the very certificate is proven, and displaces a mere claim on it by somebody else. Such a registration may
leave \`certificate\` out. A registration whose certificate has expired holds its e-mail address no more.

**A certificate that can be registered can be used.** One that some edge or TLS library could not read or present is refused, with a code that
says why. If the edge in use may refuse its kind, the registration has to be proven; the operator may require that of all registrations:
\`proof_required\`.

With verified e-mail the answer has \`"email_verification": "pending"\`, and the address gets a mail with a link. Until that is confirmed,
the registration reserves nothing, and ends after 24 hours. One caller may ask for 10 an hour. One address gets 5 mails an hour, whoever asks
for them; what is asked for beyond that has the same answer, and no mail: try again in an hour. Nor does any other answer tell whether an
address is registered: \`already_registered\` is for a caller whose TLS handshake presents the certificate, any other gets \`certificate_taken\`.`,
  command: `${CURL} --json @certs/alice.json $relay/register`,
  certificate: 'optional',
  body: {
    sent: {
      summary: 'the certificate in the body',
      value: { email: ALICE.email, certificate: ALICE.certificate }
    },
    presented: { summary: 'the certificate of the TLS handshake', value: { email: ALICE.email } }
  },
  responses: {
    200: {
      description: 'The client is registered, or is going to be.',
      content: content('application/json', {
        registered: { value: { client_id: ALICE.id } },
        pending: {
          summary: 'with verified e-mail',
          value: { client_id: ALICE.id, email_verification: 'pending' }
        }
      })
    },
    400: errors(
      'The body is not a registration.',
      ['invalid_email', ...UNACCEPTABLE_CERTIFICATE, 'invalid_request', ...UNREADABLE],
      { messages: { ...MALFORMED, ...UNREADABLE_JSON } }
    ),
    403: errors('The registration has to be proven, or an administrator has revoked the certificate.', [
      'proof_required',
      'certificate_revoked'
    ]),
    409: errors(
      'Somebody has the e-mail address or the certificate. `already_registered` is the very same pair: a peer may register at every start (with verified e-mail, one that presents its certificate).',
      ['email_taken', 'certificate_taken', 'already_registered']
    ),
    429: tooManyRequests(['too_many_requests', 'too_many_mails'])
  }
}

const UNREGISTER: Operation = {
  operationId: 'unregister',
  tags: [TAGS.registration],
  summary: 'Leave',
  description:
    'Removes the caller and all data about it. Its e-mail address and certificate become free. The holder of the key may leave even if the certificate has expired or the e-mail address was not confirmed, but not after a revocation.',
  command: `${CURL_AS_BOB} --request DELETE $relay/register`,
  certificate: 'pending',
  responses: { 204: { description: 'The caller is gone.' } }
}

/**
 * `POST /register`: makes a client of a certificate and an e-mail address, at once or when that is confirmed. Open to everyone;
 * a TLS handshake with that very certificate proves that the caller holds its key. `DELETE` removes the caller and all about
 * it.
 */
const register: FastifyPluginAsyncTypebox<Options> = async (fastify, { proof, verification }) => {
  const { clients, pendingRegistrations } = fastify.repository

  const count = async ({ refusal }: FastifyRequest) => {
    fastify.calls.registered(refusal?.code ?? (verification ? 'pending' : 'registered'))
  }
  const join = { schema, config: { operation: REGISTER }, onResponse: count }
  fastify.post('/register', join, async (request) => {
    const { email, certificate: pem } = request.body
    const presented = request.presentedCertificate()
    if (pem === undefined && !presented) {
      throw new ApiError('invalid_certificate', {
        message: 'certificate is missing: send it, or present it in the TLS handshake'
      })
    }
    const certificate = pem === undefined ? judgeCertificate(presented as Buffer) : parseCertificate(pem)
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

  fastify.delete('/register', { config: { operation: UNREGISTER } }, async (request, reply) => {
    const caller = request.caller()
    await identifyLeaver(caller)
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
    const id = await pendingRegistrations.request(email, certificate, isProven, sender, deadline)
    if (!id) throw new ApiError('too_many_mails', { retryAfter: MAIL_RETRY_AFTER })
    request.clientId = id
    audit(log, { event: 'register', clientId: id, fingerprint: certificate.fingerprint, isProven, pending: true })
    return { client_id: id, email_verification: 'pending' as const }
  }

  /** The holder of the key may leave, even if it is not confirmed yet or its certificate is not valid, but not after a revocation. */
  async function identifyLeaver(caller: Caller) {
    try {
      await caller.identify()
    } catch (error) {
      if (!NO_OBSTACLES.includes((error as ApiError).code)) throw error
    }
  }
}

export default register
