import { print, table } from './output.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer lookup`: where a peer is. */
export const lookup = verb(
  'lookup <email>',
  'Show where a peer is',
  'relay-peer lookup bob@example.com',
  'relay-peer lookup bob@example.com --json | jq -r .fingerprint'
).action((email: string, options: CommonOptions) =>
  withPeer(options, async (peer) => {
    const found = await peer.lookup(email)
    print(
      options,
      found,
      table([
        ['e-mail', found.email],
        ['port', String(found.port)],
        ['addresses', found.addresses.join(' ')],
        ['fingerprint', found.fingerprint],
        ['capabilities', JSON.stringify(found.capabilities)],
        ['announced', found.last_seen],
        ['until', found.expires_at]
      ])
    )
  })
)
