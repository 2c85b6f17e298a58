import { BlockList, isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

/** The tracker accepts no more. */
const MAX_ADDRESSES = 16
/** The tracker replaces it with the address that it sees. */
const OBSERVED = '0.0.0.0'
const UNSPECIFIED = ['0.0.0.0', '::']

const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16)
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

/**
 * Where others may reach what listens on `host`. For all interfaces: this machine's addresses except loopback and link-local ones,
 * at most 16, IPv6 and IPv4 alternating (RFC 8305, section 4), so that a family that does not work costs little.
 *
 * @param options.observed whether to add `0.0.0.0`, which the tracker replaces with the address that it sees
 */
export function listenAddresses(
  host = '::',
  { observed = true, interfaces = networkInterfaces() }: { observed?: boolean; interfaces?: Interfaces } = {}
): string[] {
  const own = UNSPECIFIED.includes(host) ? machineAddresses(interfaces, host) : [host]
  const reachable = own.filter((address) => !LOOPBACK.check(address, family(address)))
  // A peer on loopback can only be seen by a tracker on this machine.
  return observed || reachable.length === 0
    ? [...reachable.slice(0, MAX_ADDRESSES - 1), OBSERVED]
    : reachable.slice(0, MAX_ADDRESSES)
}

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>

function machineAddresses(interfaces: Interfaces, host: string) {
  const addresses = Object.values(interfaces)
    .flatMap((infos) => infos as NetworkInterfaceInfo[])
    .filter(({ internal, address }) => !internal && !LINK_LOCAL.check(address, family(address)))
    .map(({ address }) => address)
  const [six, four] = [6, 4].map((version) =>
    [...new Set(addresses)].filter((address) => isIP(address) === version)
  ) as [string[], string[]]
  if (host === '0.0.0.0') return four
  return Array.from({ length: Math.max(six.length, four.length) }, (_, index) => [six[index], four[index]])
    .flat()
    .filter((address) => address !== undefined)
}

function family(address: string) {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
