import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { audit } from '../audit.ts'
import { fingerprintOf } from '../certificate.ts'
import { problem } from '../errors.ts'
import type { Client } from '../repository/clients.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * An `onRequest` hook: the caller has to present a certificate, whichever.
     *
     * @throws 401 `certificate_required`, `invalid_certificate`
     */
    requireCertificate: (request: FastifyRequest) => Promise<void>
    /**
     * An `onRequest` hook: sets `request.client` to the registered client whose certificate the caller presented.
     *
     * @throws 401 `certificate_required`, `certificate_unknown`, `certificate_revoked`, `certificate_expired`,
     *   `certificate_not_yet_valid`, 403 `email_unverified`
     */
    authenticate: (request: FastifyRequest) => Promise<void>
    /**
     * For what takes a single statement, which itself sees to it that the caller's certificate is in force: nothing is asked
     * about that beforehand. After `requireCertificate`.
     *
     * @param act gets the certificate's fingerprint, and returns whose it is beside its result, or undefined when it is not in force
     * @throws as `authenticate`
     */
    onBehalfOf: <T extends { clientId: string }>(
      request: FastifyRequest,
      act: (caller: string) => Promise<T | undefined>
    ) => Promise<T>
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
    const { clients, certificates, registrations } = fastify.repository

    async function identify({ fingerprint, deadline, log }: FastifyRequest) {
      const client = await clients.find(fingerprint, deadline)
      if (client) return client
      // It may be a client's next one, which is in force from now on.
      const rotated = await certificates.takeOver(fingerprint, deadline)
      if (rotated) {
        const { id: clientId, previous } = rotated
        audit(log, { event: 'rotate', step: 'taken_over', clientId, fingerprint, previous })
      }
      return clients.find(fingerprint, deadline)
    }

    async function requireCertificate(request: FastifyRequest) {
      const certificate = request.presentedCertificate()
      if (!certificate) {
        throw problem(401, 'certificate_required', 'present your registered certificate in the TLS handshake')
      }
      request.fingerprint = fingerprintOf(certificate)
    }

    async function authenticate(request: FastifyRequest) {
      await requireCertificate(request)
      const client = await identify(request)
      if (!client) {
        if (await registrations.isPending(request.fingerprint, request.deadline)) {
          throw problem(403, 'email_unverified', 'confirm your e-mail address first: follow the link in the mail to it')
        }
        throw problem(401, 'certificate_unknown', 'this certificate is not registered')
      }
      request.clientId = client.id
      if (client.isRevoked) throw problem(401, 'certificate_revoked', 'this certificate was revoked')
      // On every request: a connection may outlive the certificate that opened it.
      if (client.state === 'expired') throw problem(401, 'certificate_expired', 'this certificate has expired')
      if (client.state === 'not_yet_valid') {
        throw problem(401, 'certificate_not_yet_valid', 'this certificate is not valid yet')
      }
      request.client = client
    }

    fastify.decorate('requireCertificate', requireCertificate)
    fastify.decorate('authenticate', authenticate)
    fastify.decorate('onBehalfOf', async (request, act) => {
      for (;;) {
        const done = await act(request.fingerprint)
        if (done !== undefined) {
          request.clientId = done.clientId
          return done
        }
        await authenticate(request) // says why not, or puts a certificate that is to follow in force
      }
    })
  },
  { name: 'authentication', dependencies: ['database', 'deadline', 'client-certificate', 'request-log'] }
)
