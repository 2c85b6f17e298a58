import { type Element, readElement, readElements, TAG } from './der.ts'

/** The properties of a certificate (RFC 5280) that decide where it can be used. */
export interface Profile {
  notBefore: Date
  notAfter: Date
  /** Whether its key is in the one form that every library reads: an EC key with a named curve and an uncompressed point, an RSA key with NULL parameters. */
  isPlainKey: boolean
  /** Whether it has a critical extension that OpenSSL does not handle. */
  isUnusual: boolean
}

/** The object identifiers of extensions: their content in hexadecimal. */
const EXTENSION = {
  subjectKeyIdentifier: '551d0e',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  issuerAltName: '551d12',
  basicConstraints: '551d13',
  nameConstraints: '551d1e',
  crlDistributionPoints: '551d1f',
  certificatePolicies: '551d20',
  policyMappings: '551d21',
  authorityKeyIdentifier: '551d23',
  policyConstraints: '551d24',
  extendedKeyUsage: '551d25',
  inhibitAnyPolicy: '551d36',
  authorityInfoAccess: '2b06010505070101',
  ipAddressBlocks: '2b06010505070107',
  asNumbers: '2b06010505070108',
  proxyCertInfo: '2b0601050507010e',
  netscapeCertType: '6086480186f8420101'
}

/** Extensions for authorities, routers and proxy certificates: of no use to a peer, and read differently by different libraries. */
const FOREIGN = [EXTENSION.nameConstraints, EXTENSION.ipAddressBlocks, EXTENSION.asNumbers, EXTENSION.proxyCertInfo]

/** The extensions that OpenSSL handles when they are critical: `X509_supported_extension`. */
const HANDLED = new Set([
  EXTENSION.netscapeCertType,
  EXTENSION.keyUsage,
  EXTENSION.subjectAltName,
  EXTENSION.basicConstraints,
  EXTENSION.certificatePolicies,
  EXTENSION.crlDistributionPoints,
  EXTENSION.extendedKeyUsage,
  EXTENSION.policyConstraints,
  EXTENSION.policyMappings,
  EXTENSION.inhibitAnyPolicy
])

/** The object identifiers of key types, in the same form. */
const [EC_KEY, RSA_KEY] = ['2a8648ce3d0201', '2a864886f70d010101']
const UNCOMPRESSED = 0x04
/** Context-specific tags in a certificate, and in a subjectAltName. */
const VERSION = 0xa0
const EXTENSIONS = 0xa3
const [OTHER_NAME, RFC822_NAME, DNS_NAME, DIRECTORY_NAME, URI, IP_ADDRESS] = [0xa0, 0x81, 0x82, 0xa4, 0x86, 0x87]

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
    isUnusual: extensions.some(({ id, isCritical }) => isCritical && !HANDLED.has(id))
  }
}

interface Extension {
  id: string
  isCritical: boolean
  value: Buffer
}

function childrenOf({ content }: Element) {
  return readElements(content)
}

function expect(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) throw new RangeError('an element has an unexpected type')
  return element
}

function checkVersion(version: Element) {
  const { content } = expect(childrenOf(version)[0], TAG.integer)
  if (content.length !== 1 || (content[0] as number) > 2) throw new Error('a version other than 1, 2 or 3')
}

function checkSerial({ content }: Element) {
  if ((content[0] as number) & 0x80) throw new Error('a negative serial number')
}

/** Checks that each value in a distinguished name has only characters that its string type allows. */
function checkName(name: Element) {
  const attributes = childrenOf(name).flatMap(childrenOf)
  for (const attribute of attributes) {
    const [, value] = childrenOf(attribute)
    if (!value || !isText(value)) throw new Error('a name with a string type or characters that are not allowed')
  }
}

function isText({ tag, content }: Element): boolean {
  switch (tag) {
    case TAG.utf8String: // already checked by OpenSSL
    case TAG.teletexString: // anything goes
    case TAG.bmpString:
      return true
    case TAG.printableString:
      // Including the asterisk and the ampersand, which many tools write and all read.
      return /^[A-Za-z0-9 '()+,\-./:=?*&]*$/.test(content.toString('latin1'))
    case TAG.numericString:
      return /^[0-9 ]*$/.test(content.toString('latin1'))
    case TAG.ia5String:
      return isAscii(content)
    default:
      return false
  }
}

function isAscii(bytes: Buffer) {
  return bytes.every((byte) => byte < 0x80)
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

function readExtensions(extensions: Element): Extension[] {
  return childrenOf(readElement(extensions.content)).map((extension) => {
    const [id, ...others] = childrenOf(extension)
    const critical = others.find(({ tag }) => tag === TAG.boolean)
    return {
      id: expect(id, TAG.oid).content.toString('hex'),
      isCritical: critical?.content[0] === 0xff,
      value: expect(others.at(-1), TAG.octetString).content
    }
  })
}

/** Checks as much of an extension as OpenSSL and Go read; flaws deeper inside go unnoticed. */
function checkExtension({ id, value }: Extension) {
  const [name] = Object.entries(EXTENSION).find(([, known]) => known === id) ?? []
  if (!name) return
  if (FOREIGN.includes(id)) throw new Error(`an extension that is not meant for peers: ${name}`)
  try {
    checkValue(id, readElement(value))
  } catch {
    throw new Error(`an unreadable extension: ${name}`)
  }
}

function checkValue(id: string, value: Element) {
  switch (id) {
    case EXTENSION.subjectKeyIdentifier:
      return expect(value, TAG.octetString)
    case EXTENSION.keyUsage:
    case EXTENSION.netscapeCertType:
      return checkBits(expect(value, TAG.bitString))
    case EXTENSION.inhibitAnyPolicy:
      return expect(value, TAG.integer)
    case EXTENSION.basicConstraints:
      return checkConstraints(childrenOf(expect(value, TAG.sequence)))
    case EXTENSION.extendedKeyUsage:
      for (const usage of childrenOf(expect(value, TAG.sequence))) expect(usage, TAG.oid)
      return
    case EXTENSION.subjectAltName:
    case EXTENSION.issuerAltName:
      return childrenOf(expect(value, TAG.sequence)).forEach(checkGeneralName)
    case EXTENSION.authorityKeyIdentifier:
      return checkAuthorityKey(childrenOf(expect(value, TAG.sequence)))
    default:
      return expect(value, TAG.sequence)
  }
}

/** The parts may be a key identifier, and the name and serial number of a certificate. */
function checkAuthorityKey(parts: Element[]) {
  for (const { tag, content } of parts) {
    if (tag === 0xa1) readElements(content).forEach(checkGeneralName)
    else if (tag !== 0x80 && tag !== 0x82) throw new RangeError('an unknown part')
  }
}

/** A set of flags, at least one of which is set. */
function checkBits({ content: [unused = 8, ...bits] }: Element) {
  if (unused > 7 || bits.every((octet) => octet === 0)) throw new RangeError('no flag is set')
}

function checkConstraints(fields: Element[]) {
  const pathLength = fields[0]?.tag === TAG.boolean ? fields[1] : fields[0]
  if (pathLength && (expect(pathLength, TAG.integer).content[0] as number) & 0x80) {
    throw new RangeError('a negative path length')
  }
}

/** Accepts only the kinds that are in use. */
function checkGeneralName({ tag, content }: Element) {
  const isRight = {
    [OTHER_NAME]: () => expect(readElements(content)[0], TAG.oid),
    [RFC822_NAME]: () => isAscii(content),
    [DNS_NAME]: () => isAscii(content),
    [DIRECTORY_NAME]: () => checkName(readElement(content)) === undefined,
    [URI]: () => isUri(content.toString('latin1')),
    [IP_ADDRESS]: () => [4, 16].includes(content.length)
  }[tag]
  if (!isRight?.()) throw new RangeError('not a valid name')
}

/** Whether every parser accepts it, including those that check the host. */
function isUri(text: string) {
  return /^[!-~]*$/.test(text) && !/%(?![0-9a-f]{2})/i.test(text) && (!text.includes('//') || URL.canParse(text))
}

function isPlainKey(publicKey: Element) {
  const [algorithm, key] = childrenOf(publicKey) as [Element, Element]
  const [id, parameters] = childrenOf(algorithm)
  const kind = id?.content.toString('hex')
  if (kind === EC_KEY) return parameters?.tag === TAG.oid && key.content[1] === UNCOMPRESSED
  return kind !== RSA_KEY || parameters?.tag === TAG.null
}
