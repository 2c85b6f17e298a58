import { isIPv6 } from 'node:net'
import {
  checkName,
  checkOid,
  childrenOf,
  type Element,
  expect,
  isAscii,
  readElement,
  readElements,
  TAG
} from './der.ts'

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

/** For authorities, routers and proxies: useless to a peer, and libraries disagree about them. */
const NOT_FOR_PEERS = [
  EXTENSION.nameConstraints,
  EXTENSION.ipAddressBlocks,
  EXTENSION.asNumbers,
  EXTENSION.proxyCertInfo
]

/** Go refuses a certificate in which one of these is critical. */
const NEVER_CRITICAL = [EXTENSION.subjectKeyIdentifier, EXTENSION.authorityKeyIdentifier, EXTENSION.authorityInfoAccess]

/** OpenSSL accepts these as critical: `X509_supported_extension`. */
const HANDLED = [
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
]

/** Context-specific tags of a structure's parts. */
const [CONSTRUCTED_0, CONSTRUCTED_1, CONSTRUCTED_2] = [0xa0, 0xa1, 0xa2]
const [PRIMITIVE_0, PRIMITIVE_1, PRIMITIVE_2] = [0x80, 0x81, 0x82]

/** Context-specific tags of the names in a subjectAltName. */
const [OTHER_NAME, RFC822_NAME, DNS_NAME, DIRECTORY_NAME] = [0xa0, 0x81, 0x82, 0xa4]
const [IP_ADDRESS, REGISTERED_ID] = [0x87, 0x88]
const URI = 0x86
/** The tag of the value in an `otherName`. */
const VALUE = 0xa0

interface Extension {
  id: string
  isCritical: boolean
  value: Buffer
}

/**
 * Checks extensions as strictly as OpenSSL and Go read them.
 *
 * @returns whether one is critical that OpenSSL does not handle
 */
export function checkExtensions(fields: Element[]): boolean {
  const extensions = fields.flatMap(({ content }) => childrenOf(readElement(content))).map(readExtension)
  if (new Set(extensions.map(({ id }) => id)).size < extensions.length) throw new Error('a duplicate extension')
  for (const extension of extensions) checkExtension(extension)
  return extensions.some(({ id, isCritical }) => isCritical && !HANDLED.includes(id))
}

function readExtension(extension: Element): Extension {
  const [id, ...others] = childrenOf(extension)
  const critical = others.find(({ tag }) => tag === TAG.boolean)
  return {
    id: checkOid(id).content.toString('hex'),
    isCritical: critical?.content[0] === 0xff,
    value: expect(others.at(-1), TAG.octetString).content
  }
}

function checkExtension({ id, isCritical, value }: Extension) {
  const [name] = Object.entries(EXTENSION).find(([, known]) => known === id) ?? []
  if (!name) return
  if (NOT_FOR_PEERS.includes(id)) throw new Error(`an extension that is not for peers: ${name}`)
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
      return childrenOf(expect(value, TAG.sequence)).forEach(checkOid)
    case EXTENSION.subjectAltName:
    case EXTENSION.issuerAltName:
      return childrenOf(expect(value, TAG.sequence)).forEach(checkGeneralName)
    case EXTENSION.authorityKeyIdentifier:
      return checkAuthorityKey(childrenOf(expect(value, TAG.sequence)))
    case EXTENSION.authorityInfoAccess:
      for (const [method] of sequencesOf(value)) checkOid(method)
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

/** The contents of the sequences in a sequence. */
function sequencesOf(value: Element) {
  return childrenOf(expect(value, TAG.sequence)).map((element) => childrenOf(expect(element, TAG.sequence)))
}

function checkPolicies(policies: Element[][]) {
  const ids = policies.map(([id]) => expect(id, TAG.oid).content.toString('hex'))
  if (new Set(ids).size < ids.length) throw new RangeError('a policy twice')
}

function checkPolicyConstraint({ tag, content }: Element) {
  if (tag !== PRIMITIVE_0 && tag !== PRIMITIVE_1) throw new RangeError('no part of it')
  checkInteger(content)
  checkNumber(content)
}

/** The list's name, the reasons and the issuer; one of the names is required. Go does not read relative names. */
function checkDistributionPoint(parts: Element[]) {
  checkOrder(parts, [CONSTRUCTED_0, PRIMITIVE_1, CONSTRUCTED_2])
  if (!parts.some(({ tag }) => tag !== PRIMITIVE_1)) throw new RangeError('no name')
  for (const part of parts) {
    if (part.tag === PRIMITIVE_1) checkBits(part)
    else if (part.tag === CONSTRUCTED_2) readElements(part.content).forEach(checkLocation)
    else readElements(expect(readElement(part.content), CONSTRUCTED_0).content).forEach(checkLocation)
  }
}

/** Where a list is. Nobody parses a URI here. */
function checkLocation(name: Element) {
  if (name.tag !== URI) checkGeneralName(name)
}

/** Each part may occur once, in this order. */
function checkOrder(parts: Element[], tags: number[]) {
  const order = parts.map(({ tag }) => tags.indexOf(tag))
  if (order.some((place, n) => place <= (order[n - 1] ?? -1))) throw new RangeError('parts that do not belong')
}

/** A key identifier, and a certificate's name and serial number. */
function checkAuthorityKey(parts: Element[]) {
  checkOrder(parts, [PRIMITIVE_0, CONSTRUCTED_1, PRIMITIVE_2])
  for (const { tag, content } of parts) {
    if (tag === CONSTRUCTED_1) readElements(content).forEach(checkGeneralName)
    if (tag === PRIMITIVE_2) checkInteger(content)
  }
}

/** Up to 16 flags, at least one of them set. */
function checkBits({ content: [unused = 8, ...bits] }: Element) {
  if (unused > 7 || bits.slice(0, 2).every((octet) => octet === 0)) throw new RangeError('no flag is set')
}

function checkConstraints(fields: Element[]) {
  checkOrder(fields, [TAG.boolean, TAG.integer])
  const pathLength = fields.find(({ tag }) => tag === TAG.integer)
  if (pathLength) checkNumber(pathLength.content)
}

/** An integer's content: not negative, and at most 32 bits. */
function checkNumber(content: Buffer) {
  if (content.length > 4 || (content[0] as number) & 0x80) throw new RangeError('no small number')
}

/** An integer's content under another tag. */
function checkInteger(content: Buffer) {
  readElement(Buffer.concat([Buffer.of(TAG.integer, content.length), content]))
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
    [REGISTERED_ID]: () => checkOid(readElement(Buffer.concat([Buffer.of(TAG.oid, content.length), content])))
  }[tag]
  if (!isRight?.()) throw new RangeError('not a valid name')
}

/** A kind of name and one value. */
function isOtherName([id, value, ...others]: Element[]) {
  checkOid(id)
  readElement(expect(value, VALUE).content)
  return others.length === 0
}

/** Whether every library accepts it. Go parses the host, and allows no colon before the one after the scheme. */
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
