import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { audit } from '../observability/audit.ts'
import { ApiError, CallerError } from '../runtime/error-catalogue.ts'
import { fingerprintOf } from './certificate.ts'
import type { Client } from './clients.repository.ts'

/** The TLS handshake proved that the caller has the certificate's key; the registration says whose certificate it is. */
export interface Caller {
  readonly fingerprint: string
  /** That of the request. */
  readonly deadline: AbortSignal | undefined
  /**
   * Finds the caller's client.
   *
   * @throws CallerError `certificate_unknown`, `certificate_revoked`, `certificate_expired`, `certificate_not_yet_valid`; ApiError
   *   `email_unverified`
   */
  identify: () => Promise<Client>
  /**
   * Runs a statement that also checks the caller's certificate, which saves a round trip.
   *
   * @param ask returns undefined when the certificate is not valid
   * @throws as `identify`
   */
  checkedBy: <Answer extends { clientId: string }>(ask: () => Promise<Answer | undefined>) => Promise<Answer>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** @throws CallerError `certificate_required`, `invalid_certificate`, `certificate_too_large` */
    caller: () => Caller
    /** For the log: that of the certificate presented, or to be registered. */
    fingerprint: string
  }
}

export default fp(
  async (fastify) => {
    const { clients, rotations, pendingRegistrations } = fastify.repository
    const known = Symbol('caller')
    fastify.decorateRequest(known)
    fastify.decorateRequest('fingerprint')
    fastify.decorateRequest('caller', function () {
      const caller = this.getDecorator<Caller | undefined>(known)
      if (caller) return caller
      this.setDecorator(known, createCaller(this))
      return this.getDecorator<Caller>(known)
    })

    function createCaller(request: FastifyRequest): Caller {
      const certificate = request.presentedCertificate()
      if (!certificate) throw new CallerError('certificate_required')
      const fingerprint = fingerprintOf(certificate)
      request.fingerprint = fingerprint
      const identify = () => identifyFor(request, fingerprint)
      return {
        fingerprint,
        get deadline() {
          return request.deadline // it changes once the body has been read
        },
        identify,
        async checkedBy(ask) {
          for (;;) {
            const answer = await ask()
            if (answer !== undefined) {
              request.clientId = answer.clientId
              return answer
            }
            await identify() // throws the reason, or takes over the client's next certificate
          }
        }
      }
    }

    async function identifyFor(request: FastifyRequest, fingerprint: string) {
      const { deadline } = request
      const client = (await clients.find(fingerprint, deadline)) ?? (await takeOver(request, fingerprint))
      if (!client) {
        const isPending = await pendingRegistrations.isPending(fingerprint, deadline)
        throw isPending ? new ApiError('email_unverified') : new CallerError('certificate_unknown')
      }
      request.clientId = client.id
      if (client.isRevoked) throw new CallerError('certificate_revoked')
      // Checked on every request, because a connection may outlive its certificate.
      if (client.state !== 'valid') throw new CallerError(`certificate_${client.state}`)
      return client
    }

    /** Makes a client's next certificate the valid one. */
    async function takeOver({ deadline, log }: FastifyRequest, fingerprint: string) {
      const rotated = await rotations.takeOver(fingerprint, deadline)
      if (rotated) {
        const { id: clientId, previous } = rotated
        audit(log, { event: 'rotate', step: 'taken_over', clientId, fingerprint, previous })
      }
      return clients.find(fingerprint, deadline)
    }
  },
  { name: 'authentication', dependencies: ['repository', 'deadline', 'client-certificate', 'request-log'] }
)

/** A hook that refuses a caller without a certificate before the body is read. */
export async function requireCaller(request: FastifyRequest): Promise<void> {
  request.caller()
}
