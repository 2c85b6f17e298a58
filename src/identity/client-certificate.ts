import { hash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import fp from 'fastify-plugin'
import { CallerError } from '../runtime/error-catalogue.ts'
import type { EDGE_FORMAT_NAMES } from '../runtime/settings.ts'
import { type Certificate, decodeBase64, decodePem, MAX_HEADER_LENGTH, TOO_LARGE } from './certificate.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The certificate (DER) whose key the TLS handshake proved, if there was one.
     *
     * @throws 401 `invalid_certificate` if the edge's header cannot be read, `certificate_too_large` if it is too long
     */
    presentedCertificate: () => Buffer | undefined
  }
  interface FastifyInstance {
    /** Whether the edge may refuse a certificate in a handshake, and so lock its peer out. */
    edgeMayRefuse: (certificate: Certificate) => boolean
  }
}

/** How a kind of edge passes on the certificate of the handshake. */
export interface EdgeFormat {
  /** In lower case. */
  header: string
  /**
   * The certificate (DER) in the header; undefined for anything that the edge would not write, such as the comma and space with which
   * Node.js joins repeated headers.
   */
  decode: (value: string) => Buffer | undefined
  /** Whether the edge may refuse this certificate in a handshake, so that registering it needs proof. By default never. */
  mayRefuse?: (
    certificate: Pick<Certificate, 'keyType' | 'hasUnhandledExtension' | 'hasInvalidPrintableString'>
  ) => boolean
}

/** Go supports neither Ed448 nor RSA-PSS keys: it does not ask for such certificates, so the peer sends none. */
const goMayRefuse: EdgeFormat['mayRefuse'] = ({ keyType, hasInvalidPrintableString }) =>
  hasInvalidPrintableString || ['ed448', 'rsa-pss'].includes(keyType)
/** According to their documentation. */
const onlyRsaAndEc: EdgeFormat['mayRefuse'] = ({ keyType, hasInvalidPrintableString }) =>
  hasInvalidPrintableString || !['rsa', 'ec'].includes(keyType)

export type EdgeFormatName = (typeof EDGE_FORMAT_NAMES)[number]

/** By the values of `CLIENT_CERT_FORMAT`. */
export const EDGE_FORMATS = {
  /** nginx's `$ssl_client_escaped_cert`: PEM, percent-encoded. */
  nginx: { header: 'x-ssl-cert', decode: (value) => decodePem(percentDecoded(value)) },

  /** RFC 9440: one byte sequence of RFC 8941, `:base64:`. `Client-Cert-Chain` is ignored, because no authority counts here. */
  rfc9440: {
    header: 'client-cert',
    decode: (value) => decodeBase64(/^:(.+):$/.exec(value)?.[1] ?? ''),
    mayRefuse: goMayRefuse // for Caddy
  },

  /** HAProxy's `%[ssl_c_der,base64]`, named as in OpenShift's router, which also quotes it (`%{+Q}`). */
  'der-base64': {
    header: 'x-ssl-client-der',
    decode: (value) => decodeBase64(value.replace(/^"(.*)"$/, '$1')),
    // "crt-ignore-err all" does not cover OpenSSL's errors 32 to 63, one of which is an unknown critical extension.
    mayRefuse: ({ hasUnhandledExtension }) => hasUnhandledExtension
  },

  /** Traefik's PassTLSClientCert with `pem`: PEM without its delimiters, percent-encoded up to version 2; a chain has commas. */
  traefik: {
    header: 'x-forwarded-tls-client-cert',
    decode: (value) => leaf(percentDecoded(value).split(','), decodeBase64),
    mayRefuse: goMayRefuse
  },

  /** Envoy's `forward_client_cert_details: SANITIZE_SET` with `cert`. */
  xfcc: { header: 'x-forwarded-client-cert', decode: decodeForwardedClientCert, mayRefuse: onlyRsaAndEc },

  /** AWS Application Load Balancer with mutual TLS in passthrough mode: a chain of PEM, percent-encoded except for `+=/`. */
  alb: {
    header: 'x-amzn-mtls-clientcert',
    decode: (value) => leaf(percentDecoded(value).split(/(?=-----BEGIN)/), decodePem),
    mayRefuse: onlyRsaAndEc
  }
} satisfies Record<EdgeFormatName, EdgeFormat>

type Source =
  | { from: 'tls-socket' }
  | { from: 'edge-header'; format: EdgeFormat; isTrustedProxy: (address: string) => boolean }

/** The only place that knows how a certificate arrives. No source but the configured one is read. */
export default fp<Source>(
  async (fastify, source) => {
    fastify.decorateRequest('presentedCertificate', function () {
      const { headers, socket } = this.raw
      if (source.from === 'tls-socket') return (socket as TLSSocket).getPeerX509Certificate()?.raw
      const value = headers[source.format.header] as string | undefined
      if (value === undefined || !source.isTrustedProxy(String(socket.remoteAddress))) return undefined
      if (value.length > MAX_HEADER_LENGTH) throw new CallerError('certificate_too_large', TOO_LARGE)
      const der = source.format.decode(value)
      if (!der) throw new CallerError('invalid_certificate')
      return der
    })
    const mayRefuse = source.from === 'edge-header' ? source.format.mayRefuse : undefined
    fastify.decorate('edgeMayRefuse', mayRefuse ?? (() => false))
  },
  { name: 'client-certificate' }
)

/** The first certificate of a chain: the one whose key the handshake proved. */
function leaf(chain: string[], decode: (text: string) => Buffer | undefined) {
  const certificates = chain.map(decode)
  return certificates.includes(undefined) ? undefined : certificates[0]
}

const PAIR = String.raw`([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)`
const ELEMENT = new RegExp(`^${PAIR}(?:;${PAIR})*$`)

/**
 * One element of `X-Forwarded-Client-Cert`: keys and values, separated by semicolons. Envoy does not escape a certificate's URI and DNS
 * names, so the caller could forge pairs in them. There must be exactly one `Hash`, which Envoy computes, and one `Cert` that matches it.
 */
function decodeForwardedClientCert(value: string) {
  if (!ELEMENT.test(value)) return undefined
  const pairs = Array.from(
    value.matchAll(new RegExp(PAIR, 'g')),
    ([, key, text]) => [key?.toLowerCase(), text] as const
  )
  const valuesOf = (name: string) => pairs.filter(([key]) => key === name).map(([, text = '']) => text)
  const [hashes, certificates] = [valuesOf('hash'), valuesOf('cert')]
  if (hashes.length !== 1 || certificates.length !== 1) return undefined
  const der = decodePem(percentDecoded(String(certificates[0]).replaceAll('"', '')))
  return der && hash('sha256', der, 'hex') === hashes[0] ? der : undefined
}

function percentDecoded(value: string) {
  try {
    return decodeURIComponent(value)
  } catch {
    return ''
  }
}
