import { once } from 'node:events'
import { CommandError, type Terminal } from '../cli/terminal.ts'
import { withPeer } from './with-peer.ts'

/** `relay-peer connect`: connects stdin and stdout to a peer. */
export function connect(terminal: Terminal, email: string, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const socket = await peer.connect(email)
    const { remoteAddress: address, remotePort: port } = socket
    terminal.warn(
      terminal.json
        ? JSON.stringify({ type: 'connected', email, address, port })
        : `Connected to ${email} at ${address} port ${port}; its certificate is verified`
    )
    terminal.stdin.pipe(socket).pipe(terminal.stdout)
    try {
      await once(socket, 'close', { signal: terminal.broken })
    } catch (error) {
      throw new CommandError('broken_off', `the connection to ${email} broke: ${(error as Error).message}`)
    } finally {
      socket.destroy()
      terminal.stdin.destroy()
    }
  })
}
