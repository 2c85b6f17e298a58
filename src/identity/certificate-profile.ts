import { isIPv6 } from 'node:net'
import { type Element, readElement, readElements, TAG } from './der.ts'

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

/** Those that must not be critical: Go refuses a certificate in which they are. */
const NEVER_CRITICAL = [EXTENSION.subjectKeyIdentifier, EXTENSION.authorityKeyIdentifier, EXTENSION.authorityInfoAccess]

/** Of the critical ones, those that OpenSSL handles: `X509_supported_extension`. */
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
const [OTHER_NAME, RFC822_NAME, DNS_NAME, DIRECTORY_NAME] = [0xa0, 0x81, 0x82, 0xa4]
const [URI, IP_ADDRESS, REGISTERED_ID] = [0x86, 0x87, 0x88]
/** Of the parts of other structures, those that are numbered 0 to 2: constructed ones, and others. */
const [PART_0, PART_1, PART_2] = [0xa0, 0xa1, 0xa2]
const [FLAT_PART_0, FLAT_PART_1, FLAT_PART_2] = [0x80, 0x81, 0x82]

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
    isUnusual: extensions.some(({ id, isCritical }) => isCritical && !HANDLED.has(id)),
    hasLooseText: [issuer, subject].flatMap(textsOf).some(isLoose)
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

/** What is read as a number of 32 bits, such as a path length, has at most that many octets. */
const MAX_NUMBER = 4

/** A number that is not negative, in the contents of an integer. */
function checkNumber(content: Buffer) {
  if (content.length > MAX_NUMBER || (content[0] as number) & 0x80) throw new RangeError('no small number')
}

/** The contents of an integer whose own tag another one stands for. */
function checkInteger(content: Buffer) {
  readElement(Buffer.concat([Buffer.of(TAG.integer, content.length), content]))
}

/** An object identifier as everybody reads it, whose numbers have at most 31 bits: those made of UUIDs (`2.25.…`) have more. */
function checkIdentifier(element: Element | undefined): Element {
  const identifier = expect(element, TAG.oid)
  let number = 0
  for (const octet of identifier.content) {
    number = number * 128 + (octet & 0x7f)
    if (number >= 2 ** 31) throw new Error('an object identifier with a number of more than 31 bits')
    if (octet < 128) number = 0
  }
  return identifier
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
  const attributes = childrenOf(expect(name, TAG.sequence)).flatMap((set) => childrenOf(expect(set, TAG.set)))
  for (const attribute of attributes) {
    const [type, value, ...others] = childrenOf(expect(attribute, TAG.sequence))
    checkIdentifier(type)
    if (!value || others.length > 0 || !isText(value)) throw new Error('a name that is not the kind of text it says')
  }
}

function isText({ tag, content }: Element): boolean {
  switch (tag) {
    case TAG.utf8String: // already checked by OpenSSL
    case TAG.teletexString: // anything goes
    case TAG.printableString: // see isLoose
      return true
    case TAG.bmpString:
      // OpenSSL has read it; Go takes no code that stands for no character.
      return !/[\ufdd0-\ufdef\ufffe\uffff]/.test(Buffer.from(content).swap16().toString('utf16le'))
    case TAG.numericString:
      return /^[0-9 ]*$/.test(content.toString('latin1'))
    case TAG.ia5String:
      return isAscii(content)
    default:
      return false
  }
}

/** The values within a distinguished name. */
function textsOf(name: Element): Element[] {
  return childrenOf(name)
    .flatMap(childrenOf)
    .flatMap((attribute) => childrenOf(attribute).slice(1))
}

/** The asterisk and the ampersand belong to it too, for everybody. */
function isLoose({ tag, content }: Element) {
  return tag === TAG.printableString && !/^[A-Za-z0-9 '()+,\-./:=?*&]*$/.test(content.toString('latin1'))
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
      id: checkIdentifier(id).content.toString('hex'),
      isCritical: critical?.content[0] === 0xff,
      value: expect(others.at(-1), TAG.octetString).content
    }
  })
}

/** What OpenSSL and Go read of an extension: whoever reads on is not told that the certificate is broken. */
function checkExtension({ id, isCritical, value }: Extension) {
  const [name] = Object.entries(EXTENSION).find(([, known]) => known === id) ?? []
  if (!name) return
  if (FOREIGN.includes(id)) throw new Error(`an extension that is not for peers: ${name}`)
  if (isCritical && NEVER_CRITICAL.includes(id))
    throw new Error(`a critical extension that must not be critical: ${name}`)
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
      return checkNumber(expect(value, TAG.integer).content)
    case EXTENSION.basicConstraints:
      return checkConstraints(childrenOf(expect(value, TAG.sequence)))
    case EXTENSION.extendedKeyUsage:
      return childrenOf(expect(value, TAG.sequence)).forEach(checkIdentifier)
    case EXTENSION.subjectAltName:
    case EXTENSION.issuerAltName:
      return childrenOf(expect(value, TAG.sequence)).forEach(checkGeneralName)
    case EXTENSION.authorityKeyIdentifier:
      return checkAuthorityKey(childrenOf(expect(value, TAG.sequence)))
    case EXTENSION.authorityInfoAccess:
      for (const [method] of sequencesOf(value)) checkIdentifier(method)
      return
    case EXTENSION.certificatePolicies:
      return checkPolicies(sequencesOf(value))
    case EXTENSION.policyMappings:
      for (const [policy, other] of sequencesOf(value)) for (const id of [policy, other]) expect(id, TAG.oid)
      return
    case EXTENSION.policyConstraints:
      return childrenOf(expect(value, TAG.sequence)).forEach(checkPolicyConstraint)
    case EXTENSION.crlDistributionPoints:
      return sequencesOf(value).forEach(checkDistributionPoint)
  }
}

/** What the sequences in a sequence hold. */
function sequencesOf(value: Element) {
  return childrenOf(expect(value, TAG.sequence)).map((element) => childrenOf(expect(element, TAG.sequence)))
}

/** Each policy once. */
function checkPolicies(policies: Element[][]) {
  const ids = policies.map(([id]) => expect(id, TAG.oid).content.toString('hex'))
  if (new Set(ids).size < ids.length) throw new RangeError('a policy twice')
}

function checkPolicyConstraint({ tag, content }: Element) {
  if (tag !== FLAT_PART_0 && tag !== FLAT_PART_1) throw new RangeError('no part of it')
  checkInteger(content)
  checkNumber(content)
}

/** Its parts are its name, reasons, and who issues the list; one of the names has to be there. A relative name Go does not read. */
function checkDistributionPoint(parts: Element[]) {
  checkOrder(parts, [PART_0, FLAT_PART_1, PART_2])
  if (!parts.some(({ tag }) => tag !== FLAT_PART_1)) throw new RangeError('no name')
  for (const part of parts) {
    if (part.tag === FLAT_PART_1) checkBits(part)
    else if (part.tag === PART_2) readElements(part.content).forEach(checkPlace)
    else readElements(expect(readElement(part.content), PART_0).content).forEach(checkPlace)
  }
}

/** Where a list is: any URI will do, for nobody takes it apart. */
function checkPlace(name: Element) {
  if (name.tag !== URI) checkGeneralName(name)
}

/** Each part at most once, and in this order. */
function checkOrder(parts: Element[], tags: number[]) {
  const order = parts.map(({ tag }) => tags.indexOf(tag))
  if (order.some((place, n) => place <= (order[n - 1] ?? -1))) throw new RangeError('parts that do not belong')
}

/** Its parts are a key identifier, and the name and serial number of a certificate. */
function checkAuthorityKey(parts: Element[]) {
  checkOrder(parts, [FLAT_PART_0, PART_1, FLAT_PART_2])
  for (const { tag, content } of parts) {
    if (tag === PART_1) readElements(content).forEach(checkGeneralName)
    if (tag === FLAT_PART_2) checkInteger(content)
  }
}

/** A set of flags with at least one of them; nobody has more than 16. */
function checkBits({ content: [unused = 8, ...bits] }: Element) {
  if (unused > 7 || bits.slice(0, 2).every((octet) => octet === 0)) throw new RangeError('no flag is set')
}

function checkConstraints(fields: Element[]) {
  checkOrder(fields, [TAG.boolean, TAG.integer])
  const pathLength = fields.find(({ tag }) => tag === TAG.integer)
  if (pathLength) checkNumber(pathLength.content)
}

/** Accepts only the kinds that are in use. */
function checkGeneralName({ tag, content }: Element) {
  const isRight = {
    [OTHER_NAME]: () => isOtherName(readElements(content)),
    [RFC822_NAME]: () => content.length > 0 && isAscii(content),
    [DNS_NAME]: () => content.length > 0 && isAscii(content),
    [DIRECTORY_NAME]: () => checkName(readElement(content)) === undefined,
    [URI]: () => isUri(content.toString('latin1')),
    [IP_ADDRESS]: () => [4, 16].includes(content.length),
    [REGISTERED_ID]: () => checkIdentifier(readElement(Buffer.concat([Buffer.of(TAG.oid, content.length), content])))
  }[tag]
  if (!isRight?.()) throw new RangeError('not a valid name')
}

/** What kind of name it is, and one value. */
function isOtherName([id, value, ...others]: Element[]) {
  checkIdentifier(id)
  readElement(expect(value, PART_0).content)
  return others.length === 0
}

/** Whether every parser reads it. Go takes apart whatever has a host, and no colon comes before the one after the scheme. */
function isUri(text: string) {
  if (!/^[ -~]+$/.test(text) || /%(?![0-9a-f]{2})/i.test(text)) return false
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*:)?(.*)$/i.exec(text) as unknown as [string, string | undefined, string]
  if (!rest.startsWith('//')) return scheme !== undefined || !/^[^/?#]*:/.test(rest)
  const [, host] = /^\/\/(?:[\w.~!$&'()*+,;=:%-]*@)?([^/?#]*?)(?::\d*)?(?:[/?#]|$)/.exec(rest) as unknown as [
    string,
    string
  ]
  return host === '' || isIPv6(/^\[(.*)\]$/.exec(host)?.[1] ?? '') || isHost(host)
}

function isHost(text: string) {
  return text.length <= 253 && text.split('.').every((label) => /^[\w~!$&'()*+,;=-]{1,63}$/.test(label))
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
