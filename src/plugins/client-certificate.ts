import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { decodePem } from '../certificate.ts'
import { problem } from '../errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The certificate (DER) whose private key the TLS handshake proved; undefined when there was none.
     *
     * @throws 401 `invalid_certificate` when the edge's header cannot be read
     */
    presentedCertificate: () => Buffer | undefined
  }
}

/** How nginx hands the certificate on: `X-SSL-Cert: $ssl_client_escaped_cert`. */
const HEADER = 'x-ssl-cert'

export type CertificateSource =
  | { from: 'tls-socket' }
  | { from: 'edge-header'; isTrustedProxy: (address: string) => boolean }

/** The one place that knows how a certificate arrives. Exactly one source is in force; the other is not even looked at. */
export default fp<CertificateSource>(
  async (fastify, source) => {
    fastify.decorateRequest('presentedCertificate', function () {
      return source.from === 'tls-socket' ? fromSocket(this) : fromHeader(this, source.isTrustedProxy)
    })
  },
  { name: 'client-certificate' }
)

function fromSocket({ raw }: FastifyRequest) {
  return (raw.socket as TLSSocket).getPeerX509Certificate()?.raw
}

function fromHeader({ raw }: FastifyRequest, isTrustedProxy: (address: string) => boolean) {
  const value = raw.headers[HEADER]
  if (value === undefined || !isTrustedProxy(String(raw.socket.remoteAddress))) return undefined
  // Node joins a repeated header with a comma, which no certificate has.
  const der = decodePem(percentDecoded(String(value)))
  if (!der) throw problem(401, 'invalid_certificate', 'the client certificate could not be read')
  return der
}

function percentDecoded(value: string) {
  try {
    return decodeURIComponent(value)
  } catch {
    return ''
  }
}
