import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { judgeCertificate, MAX_PEM_LENGTH, parseCertificate } from '../certificate.ts'
import { problem } from '../errors.ts'
import { Email } from './schemas.ts'

const PEM_DESCRIPTION = `one CERTIFICATE block in PEM of at most ${MAX_PEM_LENGTH} characters`

const schema = {
  body: Type.Object(
    {
      email: Email,
      certificate: Type.Optional(Type.String({ description: PEM_DESCRIPTION }))
    },
    { additionalProperties: false }
  ),
  response: { 200: Type.Object({ client_id: Type.String() }) }
}

const CONFLICTS = {
  email_taken: 'this e-mail address is registered with another certificate',
  certificate_taken: 'this certificate is registered with another e-mail address',
  already_registered: 'this e-mail address and certificate are registered already'
}

/**
 * `POST /register`: makes a client of a certificate and an e-mail address. Open to everyone; a TLS handshake with that very
 * certificate proves that the caller holds its key.
 */
const register: FastifyPluginAsyncTypebox<{ proof: 'optional' | 'required' }> = async (fastify, { proof }) => {
  fastify.post('/register', { schema }, async (request) => {
    const { email, certificate: pem } = request.body
    const presented = request.presentedCertificate()
    if (pem === undefined && !presented) {
      throw problem(400, 'invalid_certificate', 'certificate is missing: send it, or present it in the TLS handshake')
    }
    const certificate = pem === undefined ? judgeCertificate(presented as Buffer) : parseCertificate(pem)
    request.fingerprint = certificate.fingerprint
    const isProven = presented?.equals(certificate.der) ?? false
    if (proof === 'required' && !isProven) {
      throw problem(403, 'proof_required', 'present the certificate that you register in the TLS handshake')
    }
    const result = await fastify.repository.register(email.toLowerCase(), certificate, isProven, request.deadline)
    if ('conflict' in result) throw problem(409, result.conflict, CONFLICTS[result.conflict])
    return { client_id: result.id }
  })
}

export default register
