import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { isIn, LOOPBACK, subnets } from '../address-ranges.ts'
import { isVirtualBridge } from './virtual-bridges.ts'

/** The tracker accepts no more. */
const MAX_ADDRESSES = 16
/** The tracker replaces it with the address that it sees. */
const OBSERVED = '0.0.0.0'
const UNSPECIFIED = ['0.0.0.0', '::']

/** Link-local addresses; those that many machines have (IPv4 through IPv6, and proxies that catch all traffic); and obsolete tunnels. */
const NOT_REACHABLE = subnets(
  ...['169.254.0.0/16', '192.0.0.0/29', '198.18.0.0/15', '240.0.0.0/4'],
  ...['fe80::/10', '2001::/32', '2002::/16']
)

/** As `os.networkInterfaces()` has them. */
export type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>

/**
 * Where others may reach a server that listens on `host`. For all interfaces: this machine's addresses, except those that nobody else can
 * reach and those of bridges to containers and virtual machines. At most 16, IPv6 and IPv4 alternating (RFC 8305, section 4), so that a
 * family that does not work costs little time.
 *
 * @param options.observed whether to add `0.0.0.0`, which the tracker replaces with the address that it sees
 */
export function listenAddresses(
  host = '::',
  { observed = true, interfaces = networkInterfaces() }: { observed?: boolean; interfaces?: Interfaces } = {}
): string[] {
  const own = UNSPECIFIED.includes(host) ? machineAddresses(interfaces, host) : [host]
  const reachable = own.filter((address) => !isIn(LOOPBACK, address))
  // Without any, only the tracker can tell where this machine is.
  return observed || reachable.length === 0
    ? [...reachable.slice(0, MAX_ADDRESSES - 1), OBSERVED]
    : reachable.slice(0, MAX_ADDRESSES)
}

function machineAddresses(interfaces: Interfaces, host: string) {
  const addresses = Object.entries(interfaces)
    .flatMap(([name, infos = []]) => infos.filter((info) => !isVirtualBridge(name, info)))
    .filter(({ internal, address }) => !internal && !isIn(NOT_REACHABLE, address))
    .map(({ address }) => address)
  const [six, four] = [6, 4].map((version) =>
    [...new Set(addresses)].filter((address) => isIP(address) === version)
  ) as [string[], string[]]
  if (host === '0.0.0.0') return four
  return Array.from({ length: Math.max(six.length, four.length) }, (_, index) => [six[index], four[index]])
    .flat()
    .filter((address) => address !== undefined)
}
