import fp from 'fastify-plugin'
import { fingerprintOf } from '../certificate.ts'
import { problem } from '../errors.ts'
import type { Client } from '../repository.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * An `onRequest` hook: sets `request.client` to the registered client whose certificate the caller presented.
     *
     * @throws 401 `certificate_required`, `certificate_unknown`, `certificate_expired`, `certificate_not_yet_valid`
     */
    authenticate: (request: FastifyRequest) => Promise<void>
  }
  interface FastifyRequest {
    client: Client
    /** For the log: of the certificate that was presented, or is registered. */
    fingerprint: string
  }
}

/** Who calls: the certificate proves possession of its key, the registration says whose it is. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('client')
    fastify.decorateRequest('fingerprint')
    fastify.decorate('authenticate', async (request) => {
      const certificate = request.presentedCertificate()
      if (!certificate) {
        throw problem(401, 'certificate_required', 'present your registered certificate in the TLS handshake')
      }
      request.fingerprint = fingerprintOf(certificate)
      const client = await fastify.repository.findClient(request.fingerprint, request.deadline)
      if (!client) throw problem(401, 'certificate_unknown', 'this certificate is not registered')
      // On every request: a connection may outlive the certificate that opened it.
      if (client.isExpired) throw problem(401, 'certificate_expired', 'this certificate has expired')
      if (client.isNotYetValid) throw problem(401, 'certificate_not_yet_valid', 'this certificate is not valid yet')
      request.client = client
    })
  },
  { name: 'authentication', dependencies: ['database', 'deadline', 'client-certificate'] }
)
