import { isIPv6 } from 'node:net'
import { checkIdentifier, childrenOf, type Element, expect, readElement, readElements, TAG } from './der.ts'

/** Context-specific tags in a subjectAltName. */
const [OTHER_NAME, RFC822_NAME, DNS_NAME, DIRECTORY_NAME] = [0xa0, 0x81, 0x82, 0xa4]
const [IP_ADDRESS, REGISTERED_ID] = [0x87, 0x88]
export const URI = 0x86
/** Of the value within an `otherName`. */
const VALUE = 0xa0

/** Checks that each value in a distinguished name has only characters that its string type allows. */
export function checkName(name: Element) {
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

/** Whether a PrintableString in a distinguished name holds other characters. */
export function hasLooseText(name: Element): boolean {
  return textsOf(name).some(isLoose)
}

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

/** Accepts only the kinds that are in use. */
export function checkGeneralName({ tag, content }: Element) {
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
  readElement(expect(value, VALUE).content)
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
