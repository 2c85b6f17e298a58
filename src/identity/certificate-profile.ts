import { checkExtension, isHandled, readExtensions } from './certificate-extensions.ts'
import { checkName, hasLooseText } from './certificate-names.ts'
import { childrenOf, type Element, expect, readElement, TAG } from './der.ts'

/** The properties of a certificate (RFC 5280) that decide where it can be used. */
export interface Profile {
  notBefore: Date
  notAfter: Date
  /** Whether its key is in the one form that every library reads: of EC a named curve and an uncompressed point, of RSA no parameters and no negative number. */
  isPlainKey: boolean
  /** Whether it has a critical extension that OpenSSL does not handle. */
  isUnusual: boolean
  /** Whether a PrintableString in its names holds other characters, such as the `@` that node-forge writes into it. Go does not read those. */
  hasLooseText: boolean
}

/** The object identifiers of key types: their content in hexadecimal. */
const [EC_KEY, RSA_KEY] = ['2a8648ce3d0201', '2a864886f70d010101']
const UNCOMPRESSED = 0x04
/** Context-specific tags. */
const VERSION = 0xa0
const EXTENSIONS = 0xa3

/**
 * Reads a certificate as strictly as the strictest TLS library that a peer may meet. OpenSSL, Go and rustls each refuse certificates that
 * the others accept, some of them only occasionally: a peer with such a certificate would be registered, but could not come back.
 *
 * @throws Error with a message that says what is wrong, in words that follow "certificate has"
 */
export function readProfile(der: Buffer): Profile {
  const [tbs, outerAlgorithm] = childrenOf(readElement(der)) as [Element, Element]
  const fields = childrenOf(tbs)
  if (fields[0]?.tag === VERSION) checkVersion(fields.shift() as Element)
  const [serial, algorithm, issuer, validity, subject, publicKey, ...rest] = fields as [
    ...[Element, Element, Element, Element, Element, Element],
    ...Element[]
  ]
  checkSerial(serial)
  if (!algorithm.bytes.equals(outerAlgorithm.bytes)) throw new Error('two different signature algorithms')
  checkName(issuer)
  checkName(subject)
  const [notBefore, notAfter] = childrenOf(validity).map(readTime) as [Date, Date]
  if (notBefore >= notAfter) throw new Error('a validity period that ends before it begins')
  const extensions = rest.filter(({ tag }) => tag === EXTENSIONS).flatMap(readExtensions)
  if (new Set(extensions.map(({ id }) => id)).size < extensions.length) throw new Error('a duplicate extension')
  for (const extension of extensions) checkExtension(extension)
  return {
    notBefore,
    notAfter,
    isPlainKey: isPlainKey(publicKey),
    isUnusual: extensions.some(({ id, isCritical }) => isCritical && !isHandled(id)),
    hasLooseText: [issuer, subject].some(hasLooseText)
  }
}

function checkVersion(version: Element) {
  const { content } = expect(childrenOf(version)[0], TAG.integer)
  if (content.length !== 1 || (content[0] as number) > 2) throw new Error('a version other than 1, 2 or 3')
}

function checkSerial({ content }: Element) {
  if ((content[0] as number) & 0x80) throw new Error('a negative serial number')
}

/** A time in UTC to the second, in the form of DER, from the year 1 to 9999. JavaScript's own parser guesses at early years. */
function readTime({ tag, content }: Element): Date {
  const text = content.toString('latin1')
  const digits = tag === TAG.utcTime ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text
  const iso = digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
  const time = new Date(iso)
  // JavaScript takes 30 February for 1 March, and PostgreSQL has no year 0.
  if (iso === digits || iso.startsWith('0000') || Number.isNaN(time.getTime()) || time.toISOString() !== iso) {
    throw new Error('an unreadable validity period')
  }
  return time
}

function isPlainKey(publicKey: Element) {
  const [algorithm, key] = childrenOf(publicKey) as [Element, Element]
  const [id, parameters] = childrenOf(algorithm)
  const kind = id?.content.toString('hex')
  if (kind === EC_KEY) return parameters?.tag === TAG.oid && key.content[1] === UNCOMPRESSED
  if (kind !== RSA_KEY) return true
  // To OpenSSL a negative modulus is a positive one.
  const numbers = childrenOf(readElement(key.content.subarray(1)))
  return parameters?.tag === TAG.null && numbers.every(({ content }) => (content[0] as number) < 0x80)
}
