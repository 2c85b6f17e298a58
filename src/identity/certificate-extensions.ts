import { checkGeneralName, URI } from './certificate-names.ts'
import { checkIdentifier, childrenOf, type Element, expect, readElement, readElements, TAG } from './der.ts'

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

/** Of the parts of other structures, those that are numbered 0 to 2: constructed ones, and others. */
const [PART_0, PART_1, PART_2] = [0xa0, 0xa1, 0xa2]
const [FLAT_PART_0, FLAT_PART_1, FLAT_PART_2] = [0x80, 0x81, 0x82]

export interface Extension {
  id: string
  isCritical: boolean
  value: Buffer
}

/** Whether OpenSSL handles such an extension when it is critical. */
export function isHandled(id: string): boolean {
  return HANDLED.has(id)
}

export function readExtensions(extensions: Element): Extension[] {
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
export function checkExtension({ id, isCritical, value }: Extension) {
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
