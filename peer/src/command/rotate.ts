import { print } from './output.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer rotate`: a new key and certificate, in place of those in use. */
export const rotate = verb(
  'rotate',
  'Replace key and certificate now; what is running goes on (up does it by itself in time)',
  'relay-peer rotate'
).action((options: CommonOptions) =>
  withPeer(options, async (peer) => {
    const { fingerprint, notAfter } = await peer.rotate()
    const expires_at = notAfter.toISOString()
    print(options, { fingerprint, expires_at }, `The new fingerprint is ${fingerprint}, until ${expires_at}`)
  })
)
