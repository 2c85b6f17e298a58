import 'reflect-metadata' // @peculiar/x509 needs it first
import { hash, type KeyObject, X509Certificate as OpenSSLCertificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { problem, readable } from './errors.ts'

/** What the tracker keeps of a peer's certificate. */
export interface Certificate {
  der: Buffer
  fingerprint: string
  commonName: string | null
  notBefore: Date
  notAfter: Date
}

/** The largest PEM that is read, in characters: four times a certificate with an RSA-4096 key. */
export const MAX_PEM_LENGTH = 8192

const MIN_RSA_BITS = 2048
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']
const EDWARDS = ['ed25519', 'ed448']
const HASHES = ['SHA-256', 'SHA-384', 'SHA-512']
const PEM = /^\s*-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/

/**
 * Reads and judges the certificate that a peer sends to be registered.
 *
 * @throws 400 with a code for what it is instead of one certificate (`private_key_sent`, `certificate_request_sent`,
 *   `multiple_certificates`, `invalid_certificate`), and as `judgeCertificate`
 */
export function parseCertificate(pem: string, now?: Date): Certificate {
  if (/PRIVATE KEY/i.test(pem)) {
    throw problem(400, 'private_key_sent', 'certificate holds a private key: keep that to yourself and make a new one')
  }
  if (/BEGIN (NEW )?CERTIFICATE REQUEST/.test(pem)) {
    throw problem(400, 'certificate_request_sent', 'certificate is a signing request: send a self-signed certificate')
  }
  if (pem.split('BEGIN CERTIFICATE').length > 2) {
    throw problem(400, 'multiple_certificates', 'certificate must be one certificate, not several')
  }
  const der = pem.length <= MAX_PEM_LENGTH ? decodePem(pem) : undefined
  if (!der) throw invalid('certificate must be exactly one CERTIFICATE block in PEM of at most 8192 characters')
  return judgeCertificate(der, now)
}

/**
 * Reads a certificate, sent or presented in the handshake, and judges whether it may be registered.
 *
 * @param now the moment at which it has to be valid
 * @throws 400 `invalid_certificate`, `trailing_data`, `weak_key`, `weak_signature`, `certificate_expired`,
 *   `certificate_not_yet_valid`
 */
export function judgeCertificate(der: Buffer, now = new Date()): Certificate {
  const { subjectName, signatureAlgorithm, notBefore, notAfter } = readable(
    () => new x509.X509Certificate(der),
    unreadable
  )
  const openssl = readable(() => new OpenSSLCertificate(der), unreadable)
  const publicKey = readable(() => openssl.publicKey, unreadable)
  // Garbage and the year 10000 are dates for the one, not for the other.
  if (openssl.validFromDate.getTime() !== notBefore.getTime() || openssl.validToDate.getTime() !== notAfter.getTime()) {
    throw invalid('certificate has a validity period that cannot be read')
  }
  if (!openssl.raw.equals(der)) throw problem(400, 'trailing_data', 'certificate has bytes that do not belong to it')
  if (!isStrong(publicKey)) {
    throw problem(400, 'weak_key', 'certificate must have a key of RSA 2048 bits, EC P-256, Ed25519, Ed448 or stronger')
  }
  if (!isStrongSignature(signatureAlgorithm)) {
    throw problem(400, 'weak_signature', 'certificate must be signed with SHA-256, SHA-384, SHA-512, Ed25519 or Ed448')
  }
  if (notAfter <= now) throw problem(400, 'certificate_expired', 'certificate has expired')
  if (notBefore > now) throw problem(400, 'certificate_not_yet_valid', 'certificate is not valid yet')
  const [commonName = null] = subjectName.getField('CN')
  // The oldest trick with names, and PostgreSQL's text cannot hold it.
  if (commonName?.includes('\0')) throw invalid('certificate has a NUL in its common name')
  return { der, fingerprint: fingerprintOf(der), commonName, notBefore, notAfter }
}

/**
 * The bytes within the one CERTIFICATE block of a PEM (RFC 7468), or undefined when there is anything else in it.
 * Does not parse them: to hash a certificate is enough to recognise it.
 */
export function decodePem(pem: string): Buffer | undefined {
  const base64 = PEM.exec(pem)?.[1]?.replace(/\s/g, '')
  return base64 === undefined ? undefined : decodeBase64(base64)
}

/** The bytes that a text is the base64 of (RFC 4648, with padding), or undefined when it is anything else, or none. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return text !== '' && bytes.toString('base64') === text ? bytes : undefined
}

/** A certificate's identity: SHA-256 of the DER in base64url (43 characters), as RFC 8705 writes `x5t#S256`. */
export function fingerprintOf(der: Uint8Array): string {
  return hash('sha256', der, 'base64url')
}

/** Judged by what OpenSSL says of the key, as the TLS handshakes will be. */
function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails as { modulusLength?: number; namedCurve?: string }
  switch (asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return modulusLength >= MIN_RSA_BITS
    case 'ec':
      return CURVES.includes(namedCurve)
    default:
      return EDWARDS.includes(String(asymmetricKeyType))
  }
}

function isStrongSignature(algorithm: { hash?: { name: string } }) {
  const { name, hash } = algorithm as { name: string; hash?: { name: string } }
  return hash ? HASHES.includes(hash.name) : name === 'Ed25519' || name === 'EdDSA'
}

function unreadable() {
  return invalid('certificate is not a readable X.509 certificate')
}

function invalid(message: string) {
  return problem(400, 'invalid_certificate', message)
}
