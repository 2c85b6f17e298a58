import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net'
import { problem } from './errors.ts'

/** Nobody else reaches a peer there: loopback, multicast and the limited broadcast address. */
const UNREACHABLE = new BlockList()
UNREACHABLE.addSubnet('127.0.0.0', 8)
UNREACHABLE.addSubnet('224.0.0.0', 4)
UNREACHABLE.addAddress('255.255.255.255')
UNREACHABLE.addAddress('::1', 'ipv6')
UNREACHABLE.addSubnet('ff00::', 8, 'ipv6')

/** "The address you see me at." */
const UNSPECIFIED = ['0.0.0.0', '::']

/**
 * The addresses that a peer announces, in canonical form.
 *
 * @param observed the address that the tracker sees the caller at, canonical: it replaces `0.0.0.0` and `::`
 * @throws 400 `invalid_addresses` for what is no IPv4 or IPv6 literal, has a zone id, is loopback, multicast or given twice
 */
export function announcedAddresses(addresses: string[], observed: string | undefined): string[] {
  const canonical = addresses.map((address) => {
    const literal = canonicalAddress(address)
    if (literal === undefined) {
      throw invalid('addresses must be IPv4 or IPv6 literals, without host names, ports and zone ids')
    }
    if (UNREACHABLE.check(literal, familyOf(literal))) {
      throw invalid('addresses must not be loopback, multicast or broadcast addresses')
    }
    return literal
  })
  if (new Set(canonical).size < canonical.length) throw invalid('addresses must be distinct')

  const actual = canonical.map((address) => {
    if (!UNSPECIFIED.includes(address)) return address
    if (observed === undefined) throw invalid('the address you are seen at is unknown: name the ones where you listen')
    return observed
  })
  return [...new Set(actual)]
}

/** An IP address as RFC 5952 writes it, IPv4-mapped IPv6 as IPv4; undefined for what is none, or has a zone id. */
export function canonicalAddress(address: string): string | undefined {
  if (isIPv4(address)) return address
  if (!isIPv6(address) || address.includes('%')) return undefined
  const literal = new SocketAddress({ address, family: 'ipv6' }).address
  return literal.startsWith('::ffff:') && literal.includes('.') ? literal.slice('::ffff:'.length) : literal
}

function familyOf(address: string) {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}

function invalid(message: string) {
  return problem(400, 'invalid_addresses', message)
}
