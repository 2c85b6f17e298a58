import 'reflect-metadata' // @peculiar/x509 needs it first
import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'

/** The kinds of key that `createSelfSigned` makes. */
export const KEY_TYPES = {
  'p-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'rsa-2048': {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256'
  }
}

export const DAY = 86_400_000

/** By default, certificates are valid from a day ago, because clocks differ. */
export function yesterday(): Date {
  return new Date(Date.now() - DAY)
}

/**
 * Makes a key and a self-signed certificate, both as PEM: a peer's, for both ends of a connection, or with `hosts` a server's. It is not
 * marked as an authority's, because some TLS libraries refuse such a certificate from the other side.
 *
 * @param options.email a peer's e-mail address, for its subjectAltName
 * @param options.hosts DNS names and IP addresses for a server's subjectAltName
 * @param options.notBefore by default a day ago
 * @param options.days of validity from then on; by default 365
 */
export async function createSelfSigned(options: {
  commonName: string
  keyType?: keyof typeof KEY_TYPES
  email?: string
  hosts?: string[]
  notBefore?: Date
  days?: number
}) {
  const { commonName, keyType = 'p-256', email, hosts = [], notBefore = yesterday(), days = 365 } = options
  const keys = await createKeys(keyType)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    notBefore,
    notAfter: new Date(notBefore.getTime() + days * DAY),
    signingAlgorithm: KEY_TYPES[keyType],
    keys,
    extensions: leafExtensions({ keyType, email, hosts })
  })
  return { certificate: `${certificate.toString('pem')}\n`, privateKey: await exportKey(keys) }
}

export async function createKeys(keyType: keyof typeof KEY_TYPES) {
  const keys = await webcrypto.subtle.generateKey(KEY_TYPES[keyType], true, ['sign', 'verify'])
  return keys as webcrypto.CryptoKeyPair
}

/** The private key as PEM (PKCS #8). */
export async function exportKey({ privateKey }: webcrypto.CryptoKeyPair): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', privateKey)
  return `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`
}

/** The extensions of a server's certificate, or of a peer's if there are no hosts. */
export function leafExtensions({
  keyType,
  email,
  hosts
}: {
  keyType: keyof typeof KEY_TYPES
  email?: string | undefined
  hosts: string[]
}): x509.Extension[] {
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags
  const names = [
    ...(email === undefined ? [] : [{ type: 'email' as const, value: email }]),
    ...hosts.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }))
  ]
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    // In TLS 1.2, an RSA key may also encrypt.
    new x509.KeyUsagesExtension(keyType === 'p-256' ? digitalSignature : digitalSignature | keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension(hosts.length > 0 ? [serverAuth] : [serverAuth, clientAuth]),
    ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [])
  ]
}
