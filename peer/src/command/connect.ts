import { once } from 'node:events'
import { CommandError } from './failure.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer connect`: stdin and stdout, over the connection to a peer. */
export const connect = verb(
  'connect <email>',
  'Send stdin to a peer, and print what it sends, over a connection that both have proved',
  'relay-peer connect bob@example.com',
  'echo hello | relay-peer connect bob@example.com'
).action((email: string, options: CommonOptions) =>
  withPeer(options, async (peer) => {
    await peer.own() // who is not online would be refused, without a word
    const socket = await peer.connect(email)
    const { remoteAddress: address, remotePort: port } = socket
    if (options.json) console.error(JSON.stringify({ type: 'connected', email, address, port }))
    else console.error(`Connected to ${email} at ${address} port ${port}; its certificate is the right one`)
    process.stdin.pipe(socket).pipe(process.stdout)
    try {
      await once(socket, 'close')
    } catch (error) {
      throw new CommandError('broken_off', `${email} has broken off the connection: ${(error as Error).message}`)
    } finally {
      process.stdin.destroy()
    }
  })
)
