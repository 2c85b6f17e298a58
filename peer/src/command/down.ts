import { print } from './output.ts'
import { stopRunning } from './running.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer down`: offline. */
export const down = verb('down', 'End the running up, and go offline', 'relay-peer down').action(
  (options: CommonOptions) =>
    withPeer(options, async (peer) => {
      const wasUp = await stopRunning(options.dir)
      await peer.withdraw() // also what an up announced that was killed
      print(options, { email: peer.email, was_up: wasUp }, `${peer.email} is offline`)
    })
)
