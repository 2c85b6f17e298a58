import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { MAX_PEM_LENGTH, parseCertificate } from '../certificate.ts'
import { problem } from '../errors.ts'
import { Email } from './schemas.ts'

const PEM_DESCRIPTION = `one CERTIFICATE block in PEM of at most ${MAX_PEM_LENGTH} characters`

const schema = {
  body: Type.Object(
    { email: Email, certificate: Type.String({ maxLength: MAX_PEM_LENGTH, description: PEM_DESCRIPTION }) },
    { additionalProperties: false }
  ),
  response: { 200: Type.Object({ client_id: Type.String() }) }
}

const CONFLICTS = {
  email_taken: 'this e-mail address is registered with another certificate',
  certificate_taken: 'this certificate is registered with another e-mail address',
  already_registered: 'this e-mail address and certificate are registered already'
}

/** `POST /register`: makes a client of a certificate and an e-mail address. Open to everyone. */
const register: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.post('/register', { schema }, async ({ body }) => {
    const result = await fastify.repository.register(body.email.toLowerCase(), parseCertificate(body.certificate))
    if ('conflict' in result) throw problem(409, result.conflict, CONFLICTS[result.conflict])
    return { client_id: result.id }
  })
}

export default register
