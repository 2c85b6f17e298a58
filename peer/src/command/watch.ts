import type { Terminal } from '../cli/terminal.ts'
import { isCertificateUnknown } from '../errors.ts'
import type { Broadcast, Change } from '../index.ts'
import { endOfProcess } from './end.ts'
import { peerTable } from './list.ts'
import { withPeer } from './with-peer.ts'

/** Moves the cursor home and clears the screen. */
const CLEAR = '\x1b[H\x1b[J'

/** `relay-peer watch`: who goes online and offline. */
export function watch(terminal: Terminal, options: { dir: string }) {
  return withPeer(options, async (peer) => {
    const { json, stdout } = terminal
    const print = (text: string) => stdout.write(`${text}\n`)
    const show = json ? showJson(print) : stdout.isTTY ? createTable(print) : createLines(print)
    const { end, release } = endOfProcess(terminal)
    try {
      for await (const change of peer.watch({ signal: end })) {
        if (change.type === 'disconnected' && isCertificateUnknown(change.reason)) throw change.reason
        show(change)
      }
    } finally {
      release()
    }
  })
}

type Print = (text: string) => void

function showJson(print: Print) {
  return (change: Change) =>
    print(JSON.stringify(change, (_, value) => (value instanceof Error ? value.message : value)))
}

function createLines(print: Print) {
  const online = ({ email, port, addresses }: Broadcast) => print(`online ${email} ${port} ${addresses.join(' ')}`)
  return (change: Change) => {
    if (change.type === 'list') change.peers.forEach(online)
    else if (change.type === 'online') online(change.peer)
    else if (change.type === 'offline') print(`offline ${change.email}`)
  }
}

function createTable(print: Print) {
  const peers = new Map<string, Broadcast>()
  let status = 'connecting'
  return (change: Change) => {
    if (change.type === 'disconnected') status = `disconnected: ${change.reason.message}`
    if (change.type === 'connected') status = 'Ctrl-C ends'
    if (change.type === 'list') for (const peer of change.peers) peers.set(peer.email, peer)
    if (change.type === 'online') peers.set(change.peer.email, change.peer)
    if (change.type === 'offline') peers.delete(change.email)
    const rows = [...peers.values()].sort((a, b) => a.email.localeCompare(b.email))
    print(`${CLEAR}${peerTable(rows)}\n\n${rows.length} online; ${status}`)
  }
}
