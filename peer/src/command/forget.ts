import type { Terminal } from '../cli/terminal.ts'
import { stopRunning } from '../identity/running-lock.ts'
import { PeerError, RelayPeer } from '../index.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer forget`: leaves nothing behind, neither here nor at the tracker. A damaged identity is deleted here only. */
export async function forget(terminal: Terminal, { dir, yes }: { dir: string; yes?: boolean }) {
  const confirm = async (question: string) => {
    if (!yes) await terminal.confirm(question, { unasked: 'usage', declined: 'declined' })
    await stopRunning(dir)
  }
  try {
    await withPeer({ dir }, async (peer) => {
      await confirm(`Unregister ${peer.email} and delete ${dir}?`)
      if (peer.isRegistered) await peer.forget()
      else RelayPeer.discard(dir)
      terminal.print({ email: peer.email, dir }, `${peer.email} is no longer registered, and ${dir} is deleted`)
    })
  } catch (error) {
    if (!(error instanceof PeerError) || error.code !== 'identity_damaged') throw error
    await confirm(`${error.message}. Delete it? The tracker keeps its registration until it expires.`)
    RelayPeer.discard(dir)
    terminal.print({ dir }, `The identity in ${dir} is deleted. The tracker keeps its registration until it expires`)
  }
}
