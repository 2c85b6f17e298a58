import 'reflect-metadata' // @peculiar/x509 needs it first
import { type AsymmetricKeyDetails, hash, type KeyObject, X509Certificate as OpenSSLCertificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { Type } from 'typebox'
import { ApiError } from '../runtime/error-catalogue.ts'
import { checkExtensions } from './certificate-extensions.ts'
import { checkName, childrenOf, type Element, expect, hasInvalidPrintableString, readElement, TAG } from './der.ts'

/** What the tracker keeps of a peer's certificate, and the properties that decide where it can be used. */
export interface Certificate {
  der: Buffer
  fingerprint: string
  /** `rsa`, `rsa-pss`, `ec`, `ed25519` or `ed448`, as in Node.js. */
  keyType: string
  commonName: string | null
  notBefore: Date
  notAfter: Date
  /** Whether OpenSSL does not handle one of its critical extensions. */
  hasUnhandledExtension: boolean
  /** Whether a PrintableString in its names has other characters, such as node-forge's `@`. Go refuses those. */
  hasInvalidPrintableString: boolean
}

/** Bytes of DER: four times the size of a certificate with an RSA-4096 key, and 9 KB when percent-encoded in an edge's header. */
export const MAX_CERTIFICATE = 6144

export const TOO_LARGE = `certificate must be at most ${MAX_CERTIFICATE} bytes in DER`

/** Characters of a certificate, or a short chain, in an edge's header. */
export const MAX_HEADER_LENGTH = 12 * 1024

/** Checked in code rather than by the schema, because each fault has its own error code. */
export const Pem = Type.String({
  description: `one CERTIFICATE block in PEM, at most ${MAX_CERTIFICATE} bytes in DER`
})

/** RSA keys that Go and rustls accept too. An exponent of 1 keeps nothing secret. */
const [MIN_RSA_BITS, MAX_RSA_BITS] = [2048, 8192]
const [MIN_RSA_EXPONENT, MAX_RSA_EXPONENT] = [3n, 2n ** 31n - 1n]
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']
const MIN_CURVE_BITS = 256
const EDWARDS = ['ed25519', 'ed448']
const HASHES = ['SHA-256', 'SHA-384', 'SHA-512']
const WEAK_HASHES = /md\d|sha-?1$|sha1|sha-?224|ripemd/i
const PEM = /^\s*-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/
/** The object identifiers of key types: their content in hexadecimal. */
const [EC_KEY, RSA_KEY] = ['2a8648ce3d0201', '2a864886f70d010101']
const UNCOMPRESSED = 0x04
/** Context-specific tags. */
const [VERSION, EXTENSIONS] = [0xa0, 0xa3]

/**
 * Reads and validates the certificate that a peer sends.
 *
 * @throws 400 `private_key_sent`, `certificate_request_sent`, `multiple_certificates`, `invalid_certificate`, and as `validateCertificate`
 */
export function parseCertificate(pem: string): Certificate {
  if (/PRIVATE KEY/i.test(pem)) throw new ApiError('private_key_sent')
  if (/BEGIN (NEW )?CERTIFICATE REQUEST/.test(pem)) throw new ApiError('certificate_request_sent')
  if (pem.split('BEGIN CERTIFICATE').length > 2) throw new ApiError('multiple_certificates')
  const der = decodePem(pem)
  if (!der) throw new ApiError('invalid_certificate')
  return validateCertificate(der)
}

/**
 * Reads a certificate, and checks whether a peer could use it at every edge and with every TLS library. Whether it is valid now is left
 * to the database's clock.
 *
 * @throws 400 `certificate_too_large`, `invalid_certificate`, `trailing_data`, `malformed_certificate`, `weak_key`, `unsupported_key`,
 *   `weak_signature`, `unsupported_signature`
 */
export function validateCertificate(der: Buffer): Certificate {
  if (der.length > MAX_CERTIFICATE) throw new ApiError('certificate_too_large', { message: TOO_LARGE })
  if (percentEncoded(der).length > MAX_HEADER_LENGTH) {
    const message = `certificate must have at most ${MAX_HEADER_LENGTH} characters as PEM when it is percent-encoded, as edges pass it on`
    throw new ApiError('certificate_too_large', { message })
  }
  const { openssl, publicKey, commonNames, signatureAlgorithm } = read(der)
  if (!openssl.raw.equals(der)) throw new ApiError('trailing_data')
  const { isPlainKey, ...profile } = readStrictly(der)
  validateKey(publicKey, isPlainKey)
  validateSignature(signatureAlgorithm, openssl.signatureAlgorithm)
  const [commonName = null] = commonNames
  // An old trick to fake names; and PostgreSQL's text cannot hold it.
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

/** The bytes of a PEM (RFC 7468) that is one CERTIFICATE block and nothing else. They are not parsed. */
export function decodePem(pem: string): Buffer | undefined {
  const base64 = PEM.exec(pem)?.[1]?.replace(/\s/g, '')
  return base64 === undefined ? undefined : decodeBase64(base64)
}

/** The bytes of strict base64 (RFC 4648, with padding); undefined if there are none. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return text !== '' && bytes.toString('base64') === text ? bytes : undefined
}

/** As nginx writes it: `+` and `/` take three characters each. */
function percentEncoded(der: Buffer) {
  const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n')
  return encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`)
}

/** A certificate's identity: SHA-256 of the DER in base64url (43 characters), as RFC 8705 writes `x5t#S256`. */
export function fingerprintOf(der: Uint8Array): string {
  return hash('sha256', der, 'base64url')
}

/** Relies on what OpenSSL says about the key, as a TLS handshake does. */
function validateKey({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject, isPlain: boolean) {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = asymmetricKeyDetails as AsymmetricKeyDetails
  const isRsa = asymmetricKeyType === 'rsa' || asymmetricKeyType === 'rsa-pss'
  const isEc = asymmetricKeyType === 'ec'
  const isWeak =
    (isRsa && (modulusLength < MIN_RSA_BITS || publicExponent < MIN_RSA_EXPONENT)) ||
    (isEc && Number(/\d{3}/.exec(namedCurve)?.[0]) < MIN_CURVE_BITS)
  if (isWeak) throw new ApiError('weak_key')
  const isSupported =
    (isRsa && modulusLength <= MAX_RSA_BITS && publicExponent <= MAX_RSA_EXPONENT) ||
    (isEc && CURVES.includes(namedCurve)) ||
    EDWARDS.includes(String(asymmetricKeyType))
  if (!isSupported || !isPlain) throw new ApiError('unsupported_key')
}

/** @param name OpenSSL's name for the algorithm */
function validateSignature(algorithm: { hash?: { name: string } }, name = '') {
  const { name: known, hash } = algorithm as { name: string; hash?: { name: string } }
  if (hash ? HASHES.includes(hash.name) : known === 'Ed25519' || known === 'EdDSA') return
  throw new ApiError(WEAK_HASHES.test(hash?.name ?? name) ? 'weak_signature' : 'unsupported_signature')
}

function read(der: Buffer) {
  try {
    // Each part is parsed when it is accessed, and may throw then.
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
    // The messages of other errors tell a caller nothing.
    if (name !== 'Error') throw new ApiError('malformed_certificate')
    throw new ApiError('malformed_certificate', { message: `certificate has ${message}: make one with another tool` })
  }
}

/**
 * Reads a certificate (RFC 5280) as strictly as the strictest TLS library. OpenSSL, Go and rustls each refuse certificates that the others
 * accept, some only now and then: a peer with such a certificate could register but not come back.
 *
 * @throws Error with a message that follows "certificate has"
 */
function readProfile(der: Buffer) {
  const [tbs, outerAlgorithm] = childrenOf(readElement(der)) as [Element, Element]
  const fields = childrenOf(tbs)
  if (fields[0]?.tag === VERSION) {
    const { content } = expect(childrenOf(fields.shift() as Element)[0], TAG.integer)
    if (content.length !== 1 || (content[0] as number) > 2) throw new Error('a version other than 1, 2 or 3')
  }
  const [serial, algorithm, issuer, validity, subject, publicKey, ...rest] = fields as [
    ...[Element, Element, Element, Element, Element, Element],
    ...Element[]
  ]
  if ((serial.content[0] as number) & 0x80) throw new Error('a negative serial number')
  if (!algorithm.bytes.equals(outerAlgorithm.bytes)) throw new Error('two different signature algorithms')
  checkName(issuer)
  checkName(subject)
  const [notBefore, notAfter] = childrenOf(validity).map(readTime) as [Date, Date]
  if (notBefore >= notAfter) throw new Error('a validity period that ends before it begins')
  const hasUnhandledExtension = checkExtensions(rest.filter(({ tag }) => tag === EXTENSIONS))
  return {
    notBefore,
    notAfter,
    isPlainKey: isPlainKey(publicKey),
    hasUnhandledExtension,
    hasInvalidPrintableString: [issuer, subject].some(hasInvalidPrintableString)
  }
}

/** DER's time in UTC, from the year 1 to 9999. JavaScript's own parser guesses at early years. */
function readTime({ tag, content }: Element): Date {
  const text = content.toString('latin1')
  const digits = tag === TAG.utcTime ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text
  const iso = digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
  const time = new Date(iso)
  // JavaScript reads 30 February as 1 March, and PostgreSQL has no year 0.
  if (iso === digits || iso.startsWith('0000') || Number.isNaN(time.getTime()) || time.toISOString() !== iso) {
    throw new Error('an unreadable validity period')
  }
  return time
}

/** Whether every library reads the key: EC as a named curve and an uncompressed point, RSA without parameters or negative numbers. */
function isPlainKey(publicKey: Element) {
  const [algorithm, key] = childrenOf(publicKey) as [Element, Element]
  const [id, parameters] = childrenOf(algorithm)
  const kind = id?.content.toString('hex')
  if (kind === EC_KEY) return parameters?.tag === TAG.oid && key.content[1] === UNCOMPRESSED
  if (kind !== RSA_KEY) return true
  // OpenSSL reads a negative modulus as a positive one.
  const numbers = childrenOf(readElement(key.content.subarray(1)))
  return parameters?.tag === TAG.null && numbers.every(({ content }) => (content[0] as number) < 0x80)
}
