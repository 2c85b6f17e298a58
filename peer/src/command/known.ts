import type { Terminal } from '../cli/terminal.ts'
import { table } from '../cli/text.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer known`: the peers that this one has connected with. */
export function known(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async ({ knownPeers }) => {
    const rows = knownPeers.map(({ email, fingerprint, last_connected }) => [email, fingerprint, last_connected ?? ''])
    terminal.print(
      knownPeers,
      rows.length === 0 ? 'No known peers yet' : table([['E-MAIL', 'FINGERPRINT', 'CONNECTED'], ...rows])
    )
  })
}
