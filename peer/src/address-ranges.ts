import { BlockList, isIP } from 'node:net'

/** A list of subnets in CIDR notation. */
export function subnets(...prefixes: string[]): BlockList {
  const list = new BlockList()
  for (const prefix of prefixes) addSubnet(list, prefix)
  return list
}

/** @param prefix in CIDR notation */
export function addSubnet(list: BlockList, prefix: string) {
  const [address, bits] = prefix.split('/') as [string, string]
  if (isIP(address) !== 0) list.addSubnet(address, Number(bits), family(address))
}

/** Whether an IP address is in one of these subnets. */
export function isIn(list: BlockList, address: string): boolean {
  return list.check(address, family(address))
}

export const LOOPBACK = subnets('127.0.0.0/8', '::1/128')

function family(address: string) {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
