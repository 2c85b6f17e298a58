import { table } from '../cli/text.ts'
import type { Broadcast } from '../index.ts'

/** Peers as a table for people. */
export function peerTable(peers: Broadcast[]): string {
  return table([
    ['E-MAIL', 'PORT', 'ADDRESSES', 'ANNOUNCED', 'UNTIL'],
    ...peers.map(({ email, port, addresses, last_seen, expires_at }) => [
      email,
      String(port),
      addresses.join(' '),
      localTime(last_seen),
      localTime(expires_at)
    ])
  ])
}

function localTime(timestamp: string) {
  return new Date(timestamp).toLocaleTimeString('sv')
}
