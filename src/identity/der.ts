import { isUtf8 } from 'node:buffer'

/** One element of DER (X.690): a tag and its content. */
export interface Element {
  /** The identifier octet. */
  tag: number
  content: Buffer
  /** The whole element. */
  bytes: Buffer
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31
} as const

const CONSTRUCTED = 0x20
/** The universal types whose elements contain others: `EXTERNAL`, `EMBEDDED PDV`, `SEQUENCE`, `SET`, `CHARACTER STRING`. */
const CONSTRUCTED_TYPES = [0x08, 0x0b, 0x10, 0x11, 0x1d]

/**
 * The consecutive elements in `bytes`, checked recursively.
 *
 * @throws RangeError for BER that is not DER, such as an indefinite length; for a tag of several octets; and for truncated data
 */
export function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = []
  for (let start = 0; start < bytes.length; ) {
    const tag = bytes[start] as number
    // Only BER allows a string to consist of several.
    if (tag < 0x40 && CONSTRUCTED_TYPES.includes(tag & ~CONSTRUCTED) !== (tag & CONSTRUCTED) > 0)
      throw new RangeError('a tag cannot be read')
    const { length, headerLength } = readHeader(bytes.subarray(start))
    const end = start + headerLength + length
    if (end > bytes.length) throw new RangeError('an element is truncated')
    const content = bytes.subarray(start + headerLength, end)
    if (tag & CONSTRUCTED) readElements(content)
    else if (!isPrimitive(tag, content)) throw new RangeError('a value is not in its DER form')
    elements.push({ tag, content, bytes: bytes.subarray(start, end) })
    start = end
  }
  return elements
}

/** The only element in `bytes`. Throws as `readElements`, and if there is not exactly one. */
export function readElement(bytes: Buffer): Element {
  const [element, ...others] = readElements(bytes)
  if (!element || others.length > 0) throw new RangeError('there is not exactly one element')
  return element
}

/** Whether content has the form that DER requires for its tag, if any. */
function isPrimitive(tag: number, content: Buffer): boolean {
  const [first = -1, second = -1] = content
  switch (tag) {
    case TAG.boolean:
      return content.length === 1 && (first === 0 || first === 255)
    case TAG.integer:
      // The first octet is superfluous if the first nine bits are equal.
      return first >= 0 && !(first === 0 && second >= 0 && second < 0x80) && !(first === 255 && second >= 0x80)
    case TAG.bitString:
      // The first octet says how many bits at the end are unused, which must be 0.
      return (
        first === 0 || (first > 0 && first < 8 && content.length > 1 && (content.at(-1) as number) % 2 ** first === 0)
      )
    case TAG.null:
      return content.length === 0
    case TAG.oid:
      // Each number ends with its first octet below 128. Starting with 128 would be padding.
      return (content.at(-1) ?? 128) < 128 && content.every((octet, n) => octet !== 128 || (content[n - 1] ?? 0) >= 128)
    case TAG.utf8String:
      return isUtf8(content)
    default:
      return true
  }
}

function readHeader(bytes: Buffer) {
  if (bytes.length < 2 || ((bytes[0] as number) & 0x1f) === 0x1f) throw new RangeError('a tag is unreadable')
  const first = bytes[1] as number
  if (first < 0x80) return { length: first, headerLength: 2 }
  // Two octets of length are enough for a certificate.
  const octets = first & 0x7f
  if (octets < 1 || octets > 2 || bytes.length < 2 + octets) throw new RangeError('a length is unreadable')
  const length = bytes.readUIntBE(2, octets)
  if (length < (octets === 1 ? 0x80 : 0x100)) throw new RangeError('a length is longer than necessary')
  return { length, headerLength: 2 + octets }
}

export function childrenOf({ content }: Element) {
  return readElements(content)
}

/** @throws RangeError when it is missing or has another tag */
export function expect(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) throw new RangeError('an element has an unexpected type')
  return element
}

/** Checks that every library reads an object identifier: its numbers have at most 31 bits. Those of UUIDs (`2.25.…`) have more. */
export function checkOid(element: Element | undefined): Element {
  const identifier = expect(element, TAG.oid)
  let number = 0
  for (const octet of identifier.content) {
    number = number * 128 + (octet & 0x7f)
    if (number >= 2 ** 31) throw new Error('an object identifier with a number of more than 31 bits')
    if (octet < 128) number = 0
  }
  return identifier
}

/** Checks that the values of a distinguished name have only characters that their string types allow. */
export function checkName(name: Element) {
  const attributes = childrenOf(expect(name, TAG.sequence)).flatMap((set) => childrenOf(expect(set, TAG.set)))
  for (const attribute of attributes) {
    const [type, value, ...others] = childrenOf(expect(attribute, TAG.sequence))
    checkOid(type)
    if (!value || others.length > 0 || !isText(value)) throw new Error('a name whose text does not match its type')
  }
}

function isText({ tag, content }: Element): boolean {
  switch (tag) {
    case TAG.utf8String: // already checked by OpenSSL
    case TAG.teletexString: // anything goes
    case TAG.printableString: // see hasInvalidPrintableString
      return true
    case TAG.bmpString:
      // OpenSSL has read it; Go refuses code points that are not characters.
      return !/[\ufdd0-\ufdef\ufffe\uffff]/.test(Buffer.from(content).swap16().toString('utf16le'))
    case TAG.numericString:
      return /^[0-9 ]*$/.test(content.toString('latin1'))
    case TAG.ia5String:
      return isAscii(content)
    default:
      return false
  }
}

/** Whether a PrintableString in a distinguished name has other characters. Every library also allows `*` and `&`. */
export function hasInvalidPrintableString(name: Element): boolean {
  const values = childrenOf(name)
    .flatMap(childrenOf)
    .flatMap((attribute) => childrenOf(attribute).slice(1))
  return values.some(
    ({ tag, content }) =>
      tag === TAG.printableString && !/^[A-Za-z0-9 '()+,\-./:=?*&]*$/.test(content.toString('latin1'))
  )
}

export function isAscii(bytes: Buffer) {
  return bytes.every((byte) => byte < 0x80)
}
