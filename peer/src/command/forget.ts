import type { Terminal } from '../cli/terminal.ts'
import { stopRunning } from './running.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer forget`: leaves nothing behind, here or at the tracker. */
export function forget(terminal: Terminal, { dir, yes }: { dir: string; yes?: boolean }) {
  return withPeer({ dir }, async (peer) => {
    const question = `Unregister ${peer.email} and delete ${dir}?`
    if (!yes) await terminal.confirm(question, { unasked: 'usage', declined: 'declined' })
    await stopRunning(dir)
    await peer.forget()
    terminal.print({ email: peer.email, dir }, `${peer.email} is forgotten`)
  })
}
