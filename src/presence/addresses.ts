import { BlockList, SocketAddress } from 'node:net'
import { canonicalAddress } from '../http/caller-address.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { excerpt } from '../runtime/excerpt.ts'

/** Who can reach an address. */
const [NOBODY, SAME_NETWORK, EVERYBODY] = [0, 1, 2]

interface Kind {
  reach: number
  what: string
  ranges: BlockList
  /** The IPv4 addresses embedded in an IPv6 address, to which its packets go. */
  carries?: (groups: number[]) => string[]
}

/**
 * The kinds of addresses in IANA's registries of special-purpose addresses
 * (https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry) and of
 * multicast addresses. The first match counts; everybody can reach an address that matches none. Embedded addresses that depend on a
 * network's configuration (6rd, ISATAP, NAT64 with its own prefix) are not detected.
 */
const KINDS: Kind[] = [
  {
    reach: EVERYBODY, // nobody according to the registries, but harmless, and needed by examples and tests
    what: 'a documentation address',
    ranges: ranges('192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32', '3fff::/20')
  },
  {
    reach: SAME_NETWORK, // private, carrier-grade NAT, link-local, benchmarking
    what: 'a private network address',
    ranges: ranges(
      ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16', '198.18.0.0/15'],
      ...['192.0.0.0/29', 'fc00::/7', 'fe80::/10', '2001:2::/48', '5f00::/16']
    )
  },
  {
    reach: EVERYBODY, // exceptions to the IETF's protocol ranges below
    what: 'a protocol address',
    ranges: ranges(
      ...['192.0.0.9/32', '192.0.0.10/32', '2001:1::1/128', '2001:1::2/128', '2001:1::3/128'],
      ...['2001:3::/32', '2001:4:112::/48', '2001:20::/28', '2001:30::/28']
    )
  },
  {
    reach: EVERYBODY,
    what: 'a NAT64 address',
    ranges: ranges('64:ff9b::/96'),
    carries: (groups) => [ipv4At(groups, 6)]
  },
  {
    reach: SAME_NETWORK,
    what: 'a local-use NAT64 address',
    ranges: ranges('64:ff9b:1::/48'),
    carries: (groups) => [ipv4At(groups, 6)]
  },
  {
    reach: EVERYBODY,
    what: 'a 6to4 address',
    ranges: ranges('2002::/16'),
    carries: (groups) => [ipv4At(groups, 1)]
  },
  {
    reach: EVERYBODY,
    what: 'a Teredo address', // the server's address, and the client's with inverted bits
    ranges: ranges('2001::/32'),
    carries: (groups) => [
      ipv4At(groups, 2),
      ipv4At(
        groups.map((group) => group ^ 0xffff),
        6
      )
    ]
  },
  { reach: NOBODY, what: 'a loopback address', ranges: ranges('127.0.0.0/8', '::1/128') },
  { reach: NOBODY, what: 'a multicast address', ranges: ranges('224.0.0.0/4', 'ff00::/8') },
  { reach: NOBODY, what: 'an address in 0.0.0.0/8', ranges: ranges('0.0.0.0/8') },
  { reach: NOBODY, what: 'a reserved or broadcast address', ranges: ranges('240.0.0.0/4') },
  { reach: NOBODY, what: 'reserved for protocols', ranges: ranges('192.0.0.0/24', '2001::/23') },
  { reach: NOBODY, what: 'a discard-only or dummy address', ranges: ranges('100::/64', '100:0:0:1::/64') },
  { reach: NOBODY, what: 'an IPv4 address in an obsolete form', ranges: ranges('::/96', '::ffff:0:0:0/96') }
]

/** "The address you see me at." */
const UNSPECIFIED = ['0.0.0.0', '::']

/** Nobody can connect to one of these without a zone id, and that of the machine that sees it means nothing on another one. */
const IPV6_LINK_LOCAL = ranges('fe80::/10')

/**
 * The addresses of an announcement in canonical form.
 *
 * @param observed the caller's address in that form; replaces `0.0.0.0` and `::`, which are left out if nobody can reach it
 * @throws 400 `invalid_addresses`, naming the first that is not an IP address, has a zone id, cannot be reached or is listed twice, or
 *   if none is left
 */
export function validateAddresses(addresses: string[], observed: string | undefined): string[] {
  const literals = new Set<string>()
  for (const address of addresses) {
    const literal = canonicalAddress(address)
    if (literal === undefined) {
      throw invalid(`addresses must be IPv4 or IPv6 literals, without a port or zone id; "${excerpt(address)}" is not`)
    }
    if (literals.has(literal)) throw invalid(`addresses must be distinct; "${address}" is listed twice`)
    literals.add(literal)
    const flaw = UNSPECIFIED.includes(literal) ? undefined : findFlaw(literal)
    if (flaw) throw invalid(`addresses must be reachable by others; "${address}" ${flaw}`)
  }
  return replaceUnspecified([...literals], observed)
}

function replaceUnspecified(literals: string[], observed: string | undefined): string[] {
  const isUnspecified = (literal: string) => UNSPECIFIED.includes(literal)
  if (!literals.some(isUnspecified)) return literals
  const flaw = findFlawOfObserved(observed)
  const seenAt = flaw ? [] : [observed as string]
  const actual = literals.flatMap((literal) => (isUnspecified(literal) ? seenAt : literal))
  if (actual.length > 0) return [...new Set(actual)]
  throw invalid(`"${literals[0]}" means the address you are seen at, ${flaw}: list the addresses where you listen`)
}

/** Why others cannot reach a peer at the address where it is seen. */
function findFlawOfObserved(observed: string | undefined): string | undefined {
  if (observed === undefined) return 'which is unknown'
  const flaw = IPV6_LINK_LOCAL.check(socketAddress(observed)) ? 'needs a zone id' : findFlaw(observed)
  return flaw && `${observed}, which ${flaw}`
}

/** Why an address is out of reach for those `wanted`, in words that follow the address. */
function findFlaw(literal: string, wanted = SAME_NETWORK): string | undefined {
  const address = socketAddress(literal)
  const kind = KINDS.find(({ ranges }) => ranges.check(address))
  if (!kind) return undefined
  if (kind.reach < wanted) return `is ${kind.what}`
  for (const inner of kind.carries?.(groupsOf(literal)) ?? []) {
    const flaw = findFlaw(inner, kind.reach)
    if (flaw) return `contains ${inner}, which ${flaw}`
  }
  return undefined
}

function socketAddress(literal: string) {
  return new SocketAddress({ address: literal, family: literal.includes(':') ? 'ipv6' : 'ipv4' })
}

/** No range may include `::ffff:0:0/96`, because `BlockList` also checks IPv4 addresses in that form. */
function ranges(...prefixes: string[]) {
  const list = new BlockList()
  for (const prefix of prefixes) {
    const [address, bits] = prefix.split('/') as [string, string]
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4')
  }
  return list
}

/** The eight groups of an IPv6 address. */
function groupsOf(literal: string): number[] {
  const [left = [], right = []] = literal.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array(8 - left.length - right.length).fill('0')
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16))
}

function ipv4At(groups: number[], index: number): string {
  return groups
    .slice(index, index + 2)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join('.')
}

function invalid(message: string) {
  return new ApiError('invalid_addresses', { message })
}
