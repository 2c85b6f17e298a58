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

/**
 * Makes a key and a self-signed certificate for it, both as PEM, valid from now on: a peer's, or with `hosts` a server's.
 *
 * @param options.hosts DNS names and IP addresses for a server's subjectAltName
 * @param options.days how long it is valid
 */
export async function createSelfSigned(options: {
  commonName: string
  keyType?: keyof typeof KEY_TYPES
  hosts?: string[]
  notBefore?: Date
  days?: number
}) {
  const { commonName, keyType = 'p-256', hosts = [], notBefore = new Date(), days = 365 } = options
  const algorithm = KEY_TYPES[keyType]
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    notBefore,
    notAfter: new Date(notBefore.getTime() + days * 86_400_000),
    signingAlgorithm: algorithm,
    keys,
    // No key usage: a peer's certificate serves both ends of a connection between peers.
    extensions:
      hosts.length === 0
        ? []
        : [
            new x509.SubjectAlternativeNameExtension(
              hosts.map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value }))
            )
          ]
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`
  }
}
