import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CallerError } from '../runtime/error-catalogue.ts'
import { type Certificate, MAX_HEADER_LENGTH, TOO_LARGE } from './certificate.ts'
import type { EdgeFormat } from './edge-formats.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The certificate (DER) whose private key the TLS handshake proved; undefined when there was none.
     *
     * @throws 401 `invalid_certificate` when the edge's header cannot be read, `certificate_too_large` when it is too long
     */
    presentedCertificate: () => Buffer | undefined
  }
  interface FastifyInstance {
    /** Whether the edge may refuse a certificate in a handshake, so that its peer could not come back with it. */
    edgeMayRefuse: (certificate: Certificate) => boolean
  }
}

export type CertificateSource =
  | { from: 'tls-socket' }
  | { from: 'edge-header'; format: EdgeFormat; isTrustedProxy: (address: string) => boolean }

/** The one place that knows how a certificate arrives. Exactly one source is in force; no other is even looked at. */
export default fp<CertificateSource>(
  async (fastify, source) => {
    fastify.decorateRequest('presentedCertificate', function () {
      return source.from === 'tls-socket' ? fromSocket(this) : fromHeader(this, source)
    })
    const mayRefuse = source.from === 'edge-header' ? source.format.mayRefuse : undefined
    fastify.decorate('edgeMayRefuse', mayRefuse ?? (() => false))
  },
  { name: 'client-certificate' }
)

function fromSocket({ raw }: FastifyRequest) {
  return (raw.socket as TLSSocket).getPeerX509Certificate()?.raw
}

function fromHeader(
  { raw }: FastifyRequest,
  { format, isTrustedProxy }: Extract<CertificateSource, { from: 'edge-header' }>
) {
  const value = raw.headers[format.header] as string | undefined
  if (value === undefined || !isTrustedProxy(String(raw.socket.remoteAddress))) return undefined
  if (value.length > MAX_HEADER_LENGTH) throw new CallerError('certificate_too_large', TOO_LARGE)
  const der = format.decode(value)
  if (!der) throw new CallerError('invalid_certificate')
  return der
}
