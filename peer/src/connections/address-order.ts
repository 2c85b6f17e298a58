import { BlockList } from 'node:net'
import { networkInterfaces } from 'node:os'
import { addSubnet, isIn, LOOPBACK, subnets } from '../address-ranges.ts'
import type { Interfaces } from '../presence/listen-addresses.ts'
import { isVirtualBridge } from '../presence/virtual-bridges.ts'

const [KNOWN_GOOD, SAME_NETWORK, GLOBAL, OTHER_NETWORK, VIRTUAL_BRIDGE] = [0, 1, 2, 3, 4]

/** Addresses that mean something else in each network: private, carrier-grade NAT, benchmarking, link-local, unique local. */
const PRIVATE = subnets(
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10'
)
/** Where Docker, libvirt, VirtualBox and VMware's NAT put their bridges, on one machine as on the next. */
const USUAL_BRIDGES = subnets(
  ...['172.17.0.0/16', '172.18.0.0/16', '172.19.0.0/16', '172.20.0.0/14', '172.24.0.0/14', '172.28.0.0/14'],
  ...['192.168.122.0/24', '192.168.56.0/24', '10.0.2.0/24', '10.88.0.0/16', '10.0.3.0/24']
)

/** An address of a peer. */
export interface Candidate {
  address: string
  /** Whether only the peer itself should be there, so that somebody else's certificate means something. */
  isTelling: boolean
}

/**
 * A peer's addresses, the most likely to work first: those that worked before, those in this machine's own networks, those that everybody
 * can reach, those in private networks elsewhere, and bridges to containers and virtual machines. Otherwise their order is kept.
 *
 * @param knownGood addresses that worked before, the last one first
 */
export function inLikelyOrder(
  addresses: string[],
  { knownGood = [], interfaces = networkInterfaces() }: { knownGood?: string[]; interfaces?: Interfaces } = {}
): Candidate[] {
  const own = ownNetworks(interfaces)
  const place = (address: string) => {
    const is = (list: BlockList) => isIn(list, address)
    if (is(LOOPBACK) || is(own.real)) return SAME_NETWORK
    if (is(own.virtual) || is(USUAL_BRIDGES)) return VIRTUAL_BRIDGE
    return is(PRIVATE) ? OTHER_NETWORK : GLOBAL
  }
  // Somebody else may have a private address, even in a network that looks like the peer's.
  const isTelling = (address: string) => place(address) <= GLOBAL && !isIn(PRIVATE, address)
  const order = (address: string) => {
    const index = knownGood.indexOf(address)
    return index < 0 ? place(address) : KNOWN_GOOD - 1 / (index + 1)
  }
  return [...new Set(addresses)]
    .map((address) => ({ address, isTelling: isTelling(address), order: order(address) }))
    .sort((a, b) => a.order - b.order)
    .map(({ address, isTelling }) => ({ address, isTelling }))
}

/** The networks that this machine is in. */
function ownNetworks(interfaces: Interfaces) {
  const networks = { real: new BlockList(), virtual: new BlockList() }
  for (const [name, infos = []] of Object.entries(interfaces)) {
    for (const info of infos) {
      const kind = isVirtualBridge(name, info) ? 'virtual' : 'real'
      if (info.cidr && !info.internal) addSubnet(networks[kind], info.cidr)
    }
  }
  return networks
}
