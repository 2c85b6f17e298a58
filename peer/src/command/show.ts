import type { Terminal } from '../cli/terminal.ts'
import { table } from '../cli/text.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer show`: this identity. */
export function show(terminal: Terminal, { dir }: { dir: string }) {
  return withPeer({ dir }, async ({ email, tracker, credentials }) => {
    const { fingerprint, notAfter } = credentials
    const expires_at = notAfter.toISOString()
    terminal.print(
      { email, tracker, dir, fingerprint, expires_at },
      table([
        ['e-mail', email],
        ['tracker', tracker],
        ['folder', dir],
        ['fingerprint', fingerprint],
        ['until', expires_at]
      ])
    )
  })
}
