import type { Terminal } from '../cli/terminal.ts'
import { table } from '../cli/text.ts'
import type { Broadcast } from '../index.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer list`: who is online. */
export function list(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const peers = await peer.list()
    terminal.print(peers, peers.length === 0 ? 'Nobody else is online' : peerTable(peers))
  })
}

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
