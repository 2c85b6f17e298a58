import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { PeerError } from '../errors.ts'
import { createSelfSigned, DAY } from '../self-signed.ts'
import { readText } from './identity-files.ts'

/** A key and its certificate. */
export interface Credentials {
  /** PEM. */
  certificate: string
  /** PEM (PKCS #8). */
  privateKey: string
  /** SHA-256 of the certificate's DER in base64url, as RFC 8705 writes `x5t#S256`. */
  fingerprint: string
  notBefore: Date
  notAfter: Date
}

/** The common name is at most 64 characters long (RFC 5280, `ub-common-name`). */
const MAX_COMMON_NAME = 64

/** A certificate's identity, as the tracker names it. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64url')
}

/** A new key and its certificate as PEM, valid from a day earlier, because clocks differ. */
export async function newCredentials(email: string, now = Date.now()): Promise<string> {
  const { certificate, privateKey } = await createSelfSigned({
    commonName: email.slice(0, MAX_COMMON_NAME),
    email,
    notBefore: new Date(now - DAY)
  })
  return privateKey + certificate
}

/** Whether a certificate names no e-mail address (other tools make such), or this one. */
export function isFor(email: string, { certificate }: Credentials): boolean {
  const x509 = new X509Certificate(certificate)
  return !/\bemail:/.test(String(x509.subjectAltName)) || x509.checkEmail(email) !== undefined
}

/**
 * Reads a key and its certificate: of any kind, in any order, in any of OpenSSL's formats but encrypted ones.
 *
 * @returns undefined if there is no such file
 * @throws PeerError `identity_damaged`, `identity_unreadable`
 */
export function readCredentials(path: string): Credentials | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  try {
    if (text.includes('ENCRYPTED')) throw new Error('its key is encrypted, and nobody is there to type the password')
    const certificate = block(text, 'CERTIFICATE')
    const privateKey = block(text, '(?:RSA |EC )?PRIVATE KEY')
    const x509 = new X509Certificate(certificate)
    const key = createPrivateKey(privateKey)
    if (!x509.checkPrivateKey(key)) throw new Error('its key is not that of its certificate')
    return {
      certificate,
      privateKey: key.export({ type: 'pkcs8', format: 'pem' }) as string,
      fingerprint: fingerprintOf(x509.raw),
      notBefore: new Date(x509.validFrom),
      notAfter: new Date(x509.validTo)
    }
  } catch (cause) {
    throw damaged(path, (cause as Error).message, cause)
  }
}

/** The first block of its kind in a PEM. Not every runtime skips those of another kind. */
function block(text: string, kind: string): string {
  const [found] = new RegExp(`-----BEGIN ${kind}-----[^-]+-----END ${kind}-----`).exec(text) ?? []
  if (!found) throw new Error(`it has no ${kind.split(')?').at(-1)}`)
  return `${found.replaceAll('\r\n', '\n')}\n`
}

export function damaged(path: string, why: string, cause?: unknown): PeerError {
  return new PeerError('identity_damaged', `${path} is damaged: ${why}`, { cause })
}
