import { hash } from 'node:crypto'
import { decodePem } from '../src/certificate.ts'
import { CLIENT_CERTIFICATE_FORMATS, type ClientCertificateFormatName } from '../src/client-certificate-formats.ts'

interface Certified {
  /** PEM, as OpenSSL and all edges write it. */
  certificate: string
}

const der = ({ certificate }: Certified) => decodePem(certificate) as Buffer
const pems = (chain: Certified[]) => chain.map(({ certificate }) => `${certificate.trim()}\n`).join('')

/** As each edge writes the certificate (and what else the caller sent with it) that its handshake proved. */
const VALUES: Record<ClientCertificateFormatName, (leaf: Certified, ...rest: Certified[]) => string> = {
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

export const FORMAT_NAMES = Object.keys(CLIENT_CERTIFICATE_FORMATS) as ClientCertificateFormatName[]

export function headerValue(format: ClientCertificateFormatName, leaf: Certified, ...rest: Certified[]) {
  return VALUES[format](leaf, ...rest)
}

/** The header by which an edge says whose handshake it was. */
export function headerOf(format: ClientCertificateFormatName, leaf: Certified, ...rest: Certified[]) {
  return { [CLIENT_CERTIFICATE_FORMATS[format].header]: headerValue(format, leaf, ...rest) }
}
