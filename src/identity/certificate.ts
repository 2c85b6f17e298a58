import 'reflect-metadata' // @peculiar/x509 needs it first
import { type AsymmetricKeyDetails, hash, type KeyObject, X509Certificate as OpenSSLCertificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { Type } from 'typebox'
import { ApiError } from '../runtime/error-catalogue.ts'
import { readProfile } from './certificate-profile.ts'

/** What the tracker keeps of a peer's certificate. */
export interface Certificate {
  der: Buffer
  fingerprint: string
  /** As Node names it: `rsa`, `rsa-pss`, `ec`, `ed25519` or `ed448`. */
  keyType: string
  commonName: string | null
  notBefore: Date
  notAfter: Date
  /** As in `Profile`. */
  isUnusual: boolean
  hasLooseText: boolean
}

/**
 * The largest certificate that may be registered, in bytes of DER, however it arrives: four times the size of one with an RSA-4096 key. That
 * is 8.4 KB as PEM, and 9 KB when percent-encoded in an edge's header.
 */
export const MAX_CERTIFICATE = 6144

/** What is said of a larger one, in a body or in a handshake. */
export const TOO_LARGE = `certificate must be at most ${MAX_CERTIFICATE} bytes in DER`

/** The longest that such a certificate may be in an edge's header, and some of a chain. */
export const MAX_HEADER_LENGTH = 12 * 1024

/** Checked in code rather than by a schema, because each fault has its own error code. */
export const Pem = Type.String({
  description: `one CERTIFICATE block in PEM, at most ${MAX_CERTIFICATE} bytes in DER`
})

/** RSA keys that Go and rustls read too. With an exponent of 1 there is no secret. */
const [MIN_RSA_BITS, MAX_RSA_BITS] = [2048, 8192]
const [MIN_RSA_EXPONENT, MAX_RSA_EXPONENT] = [3n, 2n ** 31n - 1n]
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']
const MIN_CURVE_BITS = 256
const EDWARDS = ['ed25519', 'ed448']
const HASHES = ['SHA-256', 'SHA-384', 'SHA-512']
const WEAK_HASHES = /md\d|sha-?1$|sha1|sha-?224|ripemd/i
const PEM = /^\s*-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/

/**
 * Reads and judges the certificate that a peer sends to be registered.
 *
 * @throws 400 with a code for what it is instead of one certificate (`private_key_sent`, `certificate_request_sent`,
 *   `multiple_certificates`, `invalid_certificate`), and as `judgeCertificate`
 */
export function parseCertificate(pem: string): Certificate {
  if (/PRIVATE KEY/i.test(pem)) throw new ApiError('private_key_sent')
  if (/BEGIN (NEW )?CERTIFICATE REQUEST/.test(pem)) throw new ApiError('certificate_request_sent')
  if (pem.split('BEGIN CERTIFICATE').length > 2) throw new ApiError('multiple_certificates')
  const der = decodePem(pem)
  if (!der) throw new ApiError('invalid_certificate')
  return judgeCertificate(der)
}

/**
 * Reads a certificate that was sent in the body or presented in the handshake, and judges whether a peer could use it at every edge and with
 * every TLS library. The database checks the validity period, by its own clock.
 *
 * @throws 400 `certificate_too_large`, `invalid_certificate`, `trailing_data`, `malformed_certificate`, `weak_key`, `unsupported_key`,
 *   `weak_signature`, `unsupported_signature`
 */
export function judgeCertificate(der: Buffer): Certificate {
  if (der.length > MAX_CERTIFICATE) throw new ApiError('certificate_too_large', { message: TOO_LARGE })
  if (percentEncoded(der).length > MAX_HEADER_LENGTH) {
    const message = `certificate must have at most ${MAX_HEADER_LENGTH} characters as PEM when it is percent-encoded, as edges hand it on`
    throw new ApiError('certificate_too_large', { message })
  }
  const { openssl, publicKey, commonNames, signatureAlgorithm } = read(der)
  if (!openssl.raw.equals(der)) throw new ApiError('trailing_data')
  const { isPlainKey, ...profile } = readStrictly(der)
  judgeKey(publicKey, isPlainKey)
  judgeSignature(signatureAlgorithm, openssl.signatureAlgorithm)
  const [commonName = null] = commonNames
  // The oldest trick with names, and PostgreSQL's text cannot hold it.
  if (commonName?.includes('\0')) {
    throw new ApiError('invalid_certificate', { message: 'certificate has a NUL in its common name' })
  }
  return {
    der,
    fingerprint: fingerprintOf(der),
    keyType: publicKey.asymmetricKeyType as string,
    commonName,
    ...profile
  }
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

/** As nginx writes it: of bytes that are all the same, base64 may be nothing but characters that take three each. */
function percentEncoded(der: Buffer) {
  const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n')
  return encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`)
}

/** A certificate's identity: SHA-256 of the DER in base64url (43 characters), as RFC 8705 writes `x5t#S256`. */
export function fingerprintOf(der: Uint8Array): string {
  return hash('sha256', der, 'base64url')
}

/** Judged by what OpenSSL says of the key, as the TLS handshakes will be. */
function judgeKey({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject, isPlain: boolean) {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = asymmetricKeyDetails as AsymmetricKeyDetails
  const isRsa = asymmetricKeyType === 'rsa' || asymmetricKeyType === 'rsa-pss'
  const isEc = asymmetricKeyType === 'ec'
  const isWeak =
    (isRsa && (modulusLength < MIN_RSA_BITS || publicExponent < MIN_RSA_EXPONENT)) ||
    (isEc && Number(/\d{3}/.exec(namedCurve)?.[0]) < MIN_CURVE_BITS)
  if (isWeak) throw new ApiError('weak_key')
  const isSupported =
    (isRsa && modulusLength <= MAX_RSA_BITS && publicExponent <= MAX_RSA_EXPONENT && isPlain) ||
    (isEc && CURVES.includes(namedCurve) && isPlain) ||
    EDWARDS.includes(String(asymmetricKeyType))
  if (!isSupported || !isPlain) throw new ApiError('unsupported_key')
}

/** @param name OpenSSL's name for the algorithm */
function judgeSignature(algorithm: { hash?: { name: string } }, name = '') {
  const { name: known, hash } = algorithm as { name: string; hash?: { name: string } }
  if (hash ? HASHES.includes(hash.name) : known === 'Ed25519' || known === 'EdDSA') return
  throw new ApiError(WEAK_HASHES.test(hash?.name ?? name) ? 'weak_signature' : 'unsupported_signature')
}

/** As OpenSSL and @peculiar/x509 read it. */
function read(der: Buffer) {
  try {
    // Each part is parsed only when it is accessed, and may throw then.
    const { subjectName, signatureAlgorithm } = new x509.X509Certificate(der)
    const openssl = new OpenSSLCertificate(der)
    return { openssl, publicKey: openssl.publicKey, commonNames: subjectName.getField('CN'), signatureAlgorithm }
  } catch {
    throw new ApiError('invalid_certificate', { message: 'certificate is not a readable X.509 certificate' })
  }
}

function readStrictly(der: Buffer) {
  try {
    return readProfile(der)
  } catch (error) {
    const { name, message } = error as Error
    // Other errors come from a missing or misplaced element, and their messages say nothing to a caller.
    if (name !== 'Error') throw new ApiError('malformed_certificate')
    throw new ApiError('malformed_certificate', { message: `certificate has ${message}: make one with another tool` })
  }
}
