import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { audit } from '../observability/audit.ts'
import { ApiError, CallerError } from '../runtime/error-catalogue.ts'
import { fingerprintOf } from './certificate.ts'
import type { Client } from './clients.repository.ts'

/** Who calls: the TLS handshake proved that it has the key of its certificate. Whose that is, the registration says. */
export interface Caller {
  /** Of its certificate. */
  readonly fingerprint: string
  /** Aborts when nobody waits for the answer any more. */
  readonly deadline: AbortSignal | undefined
  /**
   * The client that it is.
   *
   * @throws CallerError `certificate_unknown`, `certificate_revoked`, `certificate_expired`, `certificate_not_yet_valid`; ApiError
   *   `email_unverified`
   */
  identify: () => Promise<Client>
  /**
   * For a single statement, which itself checks that the caller's certificate is valid: so nothing is asked about that before.
   *
   * @param ask returns undefined when it is not
   * @throws as `identify`
   */
  checkedBy: <Answer extends { clientId: string }>(ask: () => Promise<Answer | undefined>) => Promise<Answer>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** @throws CallerError `certificate_required`, `invalid_certificate`, `certificate_too_large` */
    caller: () => Caller
    /** For the log alone: of the certificate that was presented, or is to be registered. */
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
          return request.deadline // another one once the body has been read
        },
        identify,
        async checkedBy(ask) {
          for (;;) {
            const answer = await ask()
            if (answer !== undefined) {
              request.clientId = answer.clientId
              return answer
            }
            await identify() // says why not, or puts the client's next certificate in force
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
      // On every request: a connection may outlive the certificate that opened it.
      if (client.state !== 'valid') throw new CallerError(`certificate_${client.state}`)
      return client
    }

    /** It may be a client's next certificate, which is in force from now on. */
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

/** An `onRequest` hook: refuses a caller without a certificate before its body is read. */
export async function requireCaller(request: FastifyRequest): Promise<void> {
  request.caller()
}
