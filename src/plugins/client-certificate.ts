import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ClientCertificateFormat } from '../client-certificate-formats.ts'
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

/** Characters of the edge's header that are read: a registered certificate (at most 8 KiB of PEM) percent-encoded, and some of a chain. */
const MAX_HEADER_LENGTH = 12 * 1024

export type CertificateSource =
  | { from: 'tls-socket' }
  | { from: 'edge-header'; format: ClientCertificateFormat; isTrustedProxy: (address: string) => boolean }

/** The one place that knows how a certificate arrives. Exactly one source is in force; no other is even looked at. */
export default fp<CertificateSource>(
  async (fastify, source) => {
    fastify.decorateRequest('presentedCertificate', function () {
      return source.from === 'tls-socket' ? fromSocket(this) : fromHeader(this, source)
    })
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
  const der = value.length <= MAX_HEADER_LENGTH ? format.decode(value) : undefined
  if (!der) throw problem(401, 'invalid_certificate', 'the client certificate could not be read')
  return der
}
