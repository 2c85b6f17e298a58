import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { audit } from '../audit.ts'
import { parseCertificate } from '../certificate.ts'
import { problem } from '../errors.ts'
import { getCertificate, keepCertificate, rotateCertificate } from './certificate.openapi.ts'
import { Fingerprint, Pem, Timestamp } from './schemas.ts'

const validity = { fingerprint: Fingerprint, not_before: Timestamp, not_after: Timestamp }
const response = {
  200: Type.Object({ ...validity, pending: Type.Union([Type.Object(validity), Type.Null()]) })
}
const body = Type.Object({ certificate: Pem }, { additionalProperties: false })

/**
 * The caller's certificate, and its rotation. `POST /certificate` announces the next one: pending until the first request whose
 * TLS handshake presents it, which puts it in force and ends the old one; again replaces it. `DELETE` withdraws it. `GET` tells
 * of both.
 */
const certificate: FastifyPluginAsyncTypebox = async (fastify) => {
  const { certificates } = fastify.repository
  fastify.addHook('onRequest', fastify.authenticate)

  const show = { schema: { response }, config: { operation: getCertificate } }
  fastify.get('/certificate', show, ({ client, deadline }) => state(client.id, deadline))

  const propose = { schema: { body, response }, config: { operation: rotateCertificate } }
  fastify.post('/certificate', propose, async ({ body, client, fingerprint, deadline, log }) => {
    const next = parseCertificate(body.certificate)
    const isFree = await certificates.propose(client.id, next, deadline)
    if (isFree) {
      audit(log, { event: 'rotate', step: 'announced', clientId: client.id, fingerprint, next: next.fingerprint })
    }
    const answer = await state(client.id, deadline)
    if (!isFree) throw problem(409, 'certificate_taken', 'this certificate is registered already, or about to be')
    return answer
  })

  const withdraw = { config: { operation: keepCertificate } }
  fastify.delete('/certificate', withdraw, async ({ client, fingerprint, deadline, log }, reply) => {
    const isWithdrawn = await certificates.withdraw(client.id, deadline)
    if (isWithdrawn) audit(log, { event: 'rotate', step: 'withdrawn', clientId: client.id, fingerprint })
    return reply.code(204).send()
  })

  async function state(clientId: string, deadline: AbortSignal) {
    const found = await certificates.find(clientId, deadline)
    if (!found) throw problem(401, 'certificate_unknown', 'this certificate is not registered any more')
    return found
  }
}

export default certificate
