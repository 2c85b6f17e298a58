import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { audit } from '../audit.ts'
import { type Certificate, judgeCertificate, parseCertificate, untimely } from '../certificate.ts'
import { problem } from '../errors.ts'
import { callerAddress } from '../http/caller-address.ts'
import type { Conflict } from '../repository/clients.ts'
import { CONFLICTS, register as operation, UNPROVEN_CONFLICT, unregister } from './register.openapi.ts'
import { Email, Id, Pem } from './schemas.ts'

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

/**
 * `POST /register`: makes a client of a certificate and an e-mail address, at once or when that is confirmed. Open to everyone;
 * a TLS handshake with that very certificate proves that the caller holds its key. `DELETE` removes the caller and all about
 * it.
 */
const register: FastifyPluginAsyncTypebox<Options> = async (fastify, { proof, verification }) => {
  const { clients, registrations } = fastify.repository

  const count = async ({ refusal }: FastifyRequest) => {
    fastify.calls.registered(refusal?.code ?? (verification ? 'pending' : 'registered'))
  }
  const join = { schema, config: { operation }, onResponse: count }
  fastify.post('/register', join, async (request, reply) => {
    const { email, certificate: pem } = request.body
    const presented = request.presentedCertificate()
    if (pem === undefined && !presented) {
      throw problem(400, 'invalid_certificate', 'certificate is missing: send it, or present it in the TLS handshake')
    }
    const certificate = pem === undefined ? judgeCertificate(presented as Buffer) : parseCertificate(pem)
    request.fingerprint = certificate.fingerprint
    const isProven = presented?.equals(certificate.der) ?? false
    if (!isProven && proof === 'required') {
      throw problem(403, 'proof_required', 'present the certificate that you register in the TLS handshake')
    }
    if (!isProven && fastify.edgeMayRefuse(certificate)) {
      throw problem(
        403,
        'proof_required',
        'present the certificate that you register in the TLS handshake: not every server accepts its kind'
      )
    }
    const registration = { email: email.toLowerCase(), certificate, isProven }
    return verification ? askForConfirmation(registration, request, reply) : registerAtOnce(registration, request)
  })

  const leave = { config: { operation: unregister }, onRequest: authenticateLeaver }
  fastify.delete('/register', leave, async (request, reply) => {
    const { clientId, fingerprint, deadline, log } = request
    await clients.remove(fingerprint, deadline)
    audit(log, { event: 'unregister', clientId, fingerprint })
    return reply.code(204).send()
  })

  async function registerAtOnce({ email, certificate, isProven }: Registration, request: FastifyRequest) {
    const { deadline, log } = request
    const result = await clients.register(email, certificate, isProven, deadline)
    if ('conflict' in result) throw refusal(result.conflict)
    const { id: clientId, displaced } = result
    request.clientId = clientId
    if (displaced !== null) audit(log, { event: 'displaced', clientId: displaced, by: clientId })
    audit(log, { event: 'register', clientId, fingerprint: certificate.fingerprint, isProven })
    return { client_id: clientId }
  }

  async function askForConfirmation(
    { email, certificate, isProven }: Registration,
    request: FastifyRequest,
    reply: FastifyReply
  ) {
    const { ip, deadline, log } = request
    const conflict = await clients.findConflict(email, certificate, isProven, deadline)
    if (conflict === 'certificate_taken' && !isProven) throw problem(409, conflict, UNPROVEN_CONFLICT)
    if (conflict) throw refusal(conflict)
    const sender = callerAddress(ip) ?? null
    const id = await registrations.request(email, certificate, isProven, sender, deadline)
    if (!id) {
      reply.header('retry-after', MAIL_RETRY_AFTER)
      throw problem(429, 'too_many_mails', 'too many mails were asked for: try again in an hour')
    }
    request.clientId = id
    audit(log, { event: 'register', clientId: id, fingerprint: certificate.fingerprint, isProven, pending: true })
    return { client_id: id, email_verification: 'pending' as const }
  }

  /** The holder of the key may leave, even if it is not confirmed yet or its certificate is not valid, but not after a revocation. */
  function authenticateLeaver(request: FastifyRequest) {
    return fastify.authenticate(request).catch((error) => {
      if (!NO_OBSTACLES.includes(error.code)) throw error
    })
  }
}

export default register

function refusal(conflict: Conflict) {
  if (conflict === 'certificate_revoked') return problem(403, 'certificate_revoked', 'this certificate was revoked')
  if (conflict === 'certificate_expired' || conflict === 'certificate_not_yet_valid') return untimely(conflict)
  return problem(409, conflict, CONFLICTS[conflict])
}
