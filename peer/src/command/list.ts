import { peerTable, print } from './output.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer list`: who is online. */
export const list = verb(
  'list',
  'Show who is online',
  'relay-peer list',
  "relay-peer list --json | jq -r '.[].email'"
).action((options: CommonOptions) =>
  withPeer(options, async (peer) => {
    const peers = await peer.list()
    print(options, peers, peers.length === 0 ? 'Nobody else is online' : peerTable(peers))
  })
)
