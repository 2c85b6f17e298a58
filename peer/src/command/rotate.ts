import type { Terminal } from '../cli/terminal.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer rotate`: replaces key and certificate. */
export function rotate(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const { fingerprint, notAfter } = await peer.rotate()
    const expires_at = notAfter.toISOString()
    terminal.print({ fingerprint, expires_at }, `The new fingerprint is ${fingerprint}, until ${expires_at}`)
  })
}
