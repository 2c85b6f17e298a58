import type { Terminal } from '../cli/terminal.ts'
import type { Broadcast, Change } from '../index.ts'
import { endOfProcess } from './end.ts'
import { peerTable } from './list.ts'
import { withPeer } from './with-peer.ts'

/** Moves the cursor home and clears the screen. */
const CLEAR = '\x1b[H\x1b[J'

/** `relay-peer watch`: who comes and goes. */
export function watch(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const { json, stdout } = terminal
    const print = (text: string) => stdout.write(`${text}\n`)
    const show = json ? showJson(print) : stdout.isTTY ? createTable(print) : createLines(print)
    const { end, release } = endOfProcess(terminal)
    try {
      for await (const change of peer.watch({ signal: end })) show(change)
    } finally {
      release()
    }
  })
}

type Print = (text: string) => void

function showJson(print: Print) {
  return (change: Change) => print(JSON.stringify(change))
}

/** Prints what has changed: most of a new list, such as after a restart of the tracker, is known. */
function createLines(print: Print) {
  let peers = new Map<string, Broadcast>()
  let shown = new Map<string, string>()
  return (change: Change) => {
    peers = after(change, peers)
    const lines = new Map<string, string>()
    for (const { email, port, addresses } of peers.values()) {
      lines.set(email, `online ${email} ${port} ${addresses.join(' ')}`)
    }
    for (const email of shown.keys()) if (!lines.has(email)) print(`offline ${email}`)
    for (const [email, line] of lines) if (line !== shown.get(email)) print(line)
    shown = lines
  }
}

function createTable(print: Print) {
  let peers = new Map<string, Broadcast>()
  return (change: Change) => {
    peers = after(change, peers)
    const rows = [...peers.values()].sort((a, b) => a.email.localeCompare(b.email))
    print(`${CLEAR}${peerTable(rows)}\n\n${rows.length} online; Ctrl-C ends`)
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
