import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { audit } from '../audit.ts'
import { type Certificate, judgeCertificate, parseCertificate, untimely } from '../certificate.ts'
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
  fastify.post('/certificate', propose, async (request) => {
    const { body, client, fingerprint, deadline, log } = request
    const next = parseCertificate(body.certificate)
    checkPresentable(next, request)
    const refusal = await certificates.propose(client.id, next, deadline)
    if (refusal === undefined) {
      audit(log, { event: 'rotate', step: 'announced', clientId: client.id, fingerprint, next: next.fingerprint })
    }
    const answer = await state(client.id, deadline)
    if (refusal === 'certificate_taken') {
      throw problem(409, refusal, 'this certificate is registered already')
    }
    if (refusal) throw untimely(refusal)
    return answer
  })

  const withdraw = { config: { operation: keepCertificate } }
  fastify.delete('/certificate', withdraw, async ({ client, fingerprint, deadline, log }, reply) => {
    const isWithdrawn = await certificates.withdraw(client.id, deadline)
    if (isWithdrawn) audit(log, { event: 'rotate', step: 'withdrawn', clientId: client.id, fingerprint })
    return reply.code(204).send()
  })

  /** Otherwise it could stay pending for ever. An edge that accepts the current one of such a kind accepts another. */
  function checkPresentable(next: Certificate, request: FastifyRequest) {
    if (!fastify.edgeMayRefuse(next)) return
    const current = judgeCertificate(request.presentedCertificate() as Buffer)
    if (fastify.edgeMayRefuse(current)) return
    throw problem(
      403,
      'proof_required',
      'not every server accepts this kind of certificate: register again and present it in the TLS handshake'
    )
  }

  async function state(clientId: string, deadline: AbortSignal) {
    const found = await certificates.find(clientId, deadline)
    if (!found) throw problem(401, 'certificate_unknown', 'this certificate is not registered any more')
    return found
  }
}

export default certificate
