import type { Terminal } from '../cli/terminal.ts'
import { peerTable } from './peer-table.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer list`: who is online. */
export function list(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const peers = await peer.list()
    terminal.print(peers, peers.length === 0 ? 'Nobody else is online' : peerTable(peers))
  })
}
