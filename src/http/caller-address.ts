import { isIPv4, isIPv6, SocketAddress } from 'node:net'

/** An IP address in the form of RFC 5952, IPv4-mapped IPv6 as IPv4; undefined for anything else, including an address with a zone id. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text
  if (!isIPv6(text) || text.includes('%')) return undefined
  const { address } = new SocketAddress({ address: text, family: 'ipv6' })
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
}

/**
 * Fastify's `request.ip` in the same form, without a zone id, which means nothing on another machine. Undefined if the connection is
 * closed, or if the edge says "unknown".
 */
export function callerAddress(ip: string | undefined): string | undefined {
  return canonicalAddress(ip?.split('%', 1)[0] ?? '')
}
