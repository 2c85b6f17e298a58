import type { Broadcast, Change } from '../index.ts'
import { endOfProcess } from './end.ts'
import { peerTable } from './output.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** Takes the cursor home and clears what is below. */
const CLEAR = '\x1b[H\x1b[J'

/** `relay-peer watch`: who comes and goes. */
export const watch = verb(
  'watch',
  'Show who is online, live: a table on a terminal, a line for each change otherwise',
  'relay-peer watch',
  'relay-peer watch --json | jq -c \'select(.type == "online").peer.email\''
).action((options: CommonOptions) =>
  withPeer(options, async (peer) => {
    const show = options.json ? showJson : process.stdout.isTTY ? createTable() : createLines()
    const { end, release } = endOfProcess()
    try {
      for await (const change of peer.watch({ signal: end })) show(change)
    } finally {
      release()
    }
  })
)

function showJson(change: Change) {
  console.log(JSON.stringify(change))
}

/** Prints what is different from before: a new list, such as after the tracker was away, is mostly what was known. */
function createLines() {
  let peers = new Map<string, Broadcast>()
  let shown = new Map<string, string>()
  return (change: Change) => {
    peers = after(change, peers)
    const lines = new Map<string, string>()
    for (const { email, port, addresses } of peers.values()) {
      lines.set(email, `online ${email} ${port} ${addresses.join(' ')}`)
    }
    for (const email of shown.keys()) if (!lines.has(email)) console.log(`offline ${email}`)
    for (const [email, line] of lines) if (line !== shown.get(email)) console.log(line)
    shown = lines
  }
}

function createTable() {
  let peers = new Map<string, Broadcast>()
  return (change: Change) => {
    peers = after(change, peers)
    const rows = [...peers.values()].sort((a, b) => a.email.localeCompare(b.email))
    process.stdout.write(`${CLEAR}${peerTable(rows)}\n\n${rows.length} online; Ctrl-C ends\n`)
  }
}

/** Who is online after a change. */
function after(change: Change, before: Map<string, Broadcast>) {
  if (change.type === 'list') return new Map(change.peers.map((peer) => [peer.email, peer]))
  const peers = new Map(before)
  if (change.type === 'online') peers.set(change.peer.email, change.peer)
  else peers.delete(change.email)
  return peers
}
