import type { Terminal } from '../cli/terminal.ts'
import { table } from '../cli/text.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer lookup`: where a peer is. */
export function lookup(terminal: Terminal, email: string, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const found = await peer.lookup(email)
    const words = table([
      ['e-mail', found.email],
      ['port', String(found.port)],
      ['addresses', found.addresses.join(' ')],
      ['fingerprint', found.fingerprint],
      ['capabilities', JSON.stringify(found.capabilities)],
      ['announced', found.last_seen],
      ['until', found.expires_at]
    ])
    terminal.print(found, words)
  })
}
