import { hash } from 'node:crypto'
import { decodePem } from '../../src/identity/certificate.ts'
import { EDGE_FORMATS, type EdgeFormatName } from '../../src/identity/client-certificate.ts'

interface Certified {
  /** PEM, as OpenSSL and all edges write it. */
  certificate: string
}

const der = ({ certificate }: Certified) => decodePem(certificate) as Buffer
const pems = (chain: Certified[]) => chain.map(({ certificate }) => `${certificate.trim()}\n`).join('')

/** How each edge writes the certificate that its handshake proved, with what else the caller sent. */
const VALUES: Record<EdgeFormatName, (leaf: Certified, ...rest: Certified[]) => string> = {
  nginx: (leaf) => encodeURIComponent(leaf.certificate),
  rfc9440: (leaf) => `:${der(leaf).toString('base64')}:`,
  'der-base64': (leaf) => der(leaf).toString('base64'),
  // pkg/middlewares/passtlsclientcert/pass_tls_client_cert.go
  traefik: (...chain) => chain.map((each) => pems([each]).replaceAll(/-----.*-----|\n/g, '')).join(','),
  // source/common/http/conn_manager_utility.cc and source/common/tls/connection_info_impl_base.cc
  xfcc: (leaf) => {
    const escaped = pems([leaf]).replaceAll(/[\n +/=]/g, encodeURIComponent)
    return `Hash=${hash('sha256', der(leaf), 'hex')};Cert="${escaped}"`
  },
  // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html
  alb: (...chain) => encodeURIComponent(pems(chain)).replaceAll(/%2B|%3D|%2F/g, decodeURIComponent)
}

export const FORMAT_NAMES = Object.keys(EDGE_FORMATS) as EdgeFormatName[]

export function headerValue(format: EdgeFormatName, leaf: Certified, ...rest: Certified[]) {
  return VALUES[format](leaf, ...rest)
}

/** The header in which an edge passes the certificate on. */
export function headerOf(format: EdgeFormatName, leaf: Certified, ...rest: Certified[]) {
  return { [EDGE_FORMATS[format].header]: headerValue(format, leaf, ...rest) }
}
