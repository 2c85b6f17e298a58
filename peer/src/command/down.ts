import type { Terminal } from '../cli/terminal.ts'
import { stopRunning } from '../identity/running-lock.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer down`: goes offline. */
export function down(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const wasUp = await stopRunning(options.dir)
    await peer.withdraw() // in case the `up` was killed
    terminal.print({ email: peer.email, was_up: wasUp }, `${peer.email} is offline`)
  })
}
