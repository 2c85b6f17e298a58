import { hash } from 'node:crypto'
import type { EDGE_FORMAT_NAMES } from '../runtime/settings.ts'
import { type Certificate, decodeBase64, decodePem } from './certificate.ts'

/** How one kind of edge hands on the certificate that its handshake proved. */
export interface EdgeFormat {
  /** The header's name, as Node has it: in lower case. */
  header: string
  /**
   * The certificate (DER) in the header's value, or undefined when that is anything but what such an edge writes. Node joins a
   * repeated header with a comma and a space, which none of them does.
   */
  decode: (value: string) => Buffer | undefined
  /**
   * Whether such an edge may refuse this certificate in a handshake. Registration then needs proof, because the peer might otherwise never
   * come back. Omitted if the edge accepts every certificate that may be registered.
   */
  mayRefuse?: (certificate: Pick<Certificate, 'keyType' | 'isUnusual' | 'hasLooseText'>) => boolean
}

/** Go supports neither Ed448 nor keys for RSA-PSS only: it does not ask for such a certificate, and the caller sends none. */
const goMayRefuse: EdgeFormat['mayRefuse'] = ({ keyType, hasLooseText }) =>
  hasLooseText || ['ed448', 'rsa-pss'].includes(keyType)
/** According to their documentation. */
const onlyRsaAndEc: EdgeFormat['mayRefuse'] = ({ keyType, hasLooseText }) =>
  hasLooseText || !['rsa', 'ec'].includes(keyType)

export type EdgeFormatName = (typeof EDGE_FORMAT_NAMES)[number]

/** By the values of `CLIENT_CERT_FORMAT`. */
export const EDGE_FORMATS = {
  /** nginx's `$ssl_client_escaped_cert`: PEM, percent-encoded. */
  nginx: { header: 'x-ssl-cert', decode: (value) => decodePem(percentDecoded(value)) },

  /** RFC 9440: one byte sequence of RFC 8941, `:base64:`. `Client-Cert-Chain` is not looked at: no authority counts here. */
  rfc9440: {
    header: 'client-cert',
    decode: (value) => decodeBase64(/^:(.+):$/.exec(value)?.[1] ?? ''),
    mayRefuse: goMayRefuse // for Caddy
  },

  /** HAProxy's `%[ssl_c_der,base64]`, under the name that OpenShift's router gives it, which also quotes it (`%{+Q}`). */
  'der-base64': {
    header: 'x-ssl-client-der',
    decode: (value) => decodeBase64(value.replace(/^"(.*)"$/, '$1')),
    // "crt-ignore-err all" does not cover OpenSSL's errors 32 to 63, one of which is an unknown critical extension.
    mayRefuse: ({ isUnusual }) => isUnusual
  },

  /** Traefik's PassTLSClientCert with `pem`: PEM without its delimiters, up to version 2 percent-encoded; a chain has commas. */
  traefik: {
    header: 'x-forwarded-tls-client-cert',
    decode: (value) => leaf(percentDecoded(value).split(','), decodeBase64),
    mayRefuse: goMayRefuse
  },

  /** Envoy's `forward_client_cert_details: SANITIZE_SET` with `cert`. */
  xfcc: { header: 'x-forwarded-client-cert', decode: decodeForwardedClientCert, mayRefuse: onlyRsaAndEc },

  /** AWS Application Load Balancer, mutual TLS in passthrough mode: a chain of PEM, percent-encoded but for `+=/`. */
  alb: {
    header: 'x-amzn-mtls-clientcert',
    decode: (value) => leaf(percentDecoded(value).split(/(?=-----BEGIN)/), decodePem),
    mayRefuse: onlyRsaAndEc
  }
} satisfies Record<EdgeFormatName, EdgeFormat>

/** Of a chain, the first is the one whose key the handshake proved; the others have to be certificates, and say nothing. */
function leaf(chain: string[], decode: (text: string) => Buffer | undefined) {
  const certificates = chain.map(decode)
  return certificates.includes(undefined) ? undefined : certificates[0]
}

const PAIR = String.raw`([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)`
const ELEMENT = new RegExp(`^${PAIR}(?:;${PAIR})*$`)

/**
 * One element of `X-Forwarded-Client-Cert`: pairs of key and value, with semicolons. Envoy escapes neither the URI nor the DNS
 * names of a certificate, which are the caller's to choose, and so is what they pretend to be. `Hash` comes before
 * them and from the handshake; so there has to be one of it, and one `Cert`, which it is the hash of.
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
