import type { Terminal } from '../cli/terminal.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer trust`: accepts the new certificate of a known peer. */
export function trust(terminal: Terminal, email: string, fingerprint: string, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    peer.trust(email, fingerprint)
    terminal.print({ email, fingerprint }, `${email} is now known by the fingerprint ${fingerprint}`)
  })
}
