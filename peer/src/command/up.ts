import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { CommandError, type Terminal } from '../cli/terminal.ts'
import { harmless } from '../cli/text.ts'
import type { RelayPeer } from '../index.ts'
import { endOfProcess } from './end.ts'
import { lines } from './lines.ts'
import { markRunning } from './running.ts'
import { withPeer } from './with-peer.ts'

interface Options {
  dir: string
  port?: number
  host?: string
  ttl?: number
  announceOnly?: boolean
}

/** Milliseconds of silence after which a connection is probed. */
const PROBE = 30_000

/** `relay-peer up`: stays online until it is ended, and talks with callers. */
export async function up(terminal: Terminal, options: Options) {
  if (options.announceOnly && options.port === undefined) {
    throw new CommandError('usage', '--announce-only needs --port: where does the other program listen?')
  }
  await withPeer(options, async (peer) => {
    // Unmarked when the peer is closed: `down` waits for that.
    const unmark = markRunning(options.dir)
    try {
      await stayUp(peer, terminal, options)
    } finally {
      await peer.close()
      unmark()
    }
  })
}

async function stayUp(peer: RelayPeer, terminal: Terminal, options: Options) {
  const { host, announceOnly, ttl } = options
  const { end, release } = endOfProcess(terminal)
  const ended = once(end, 'abort')
  const failed = once(peer, 'error').then(([error]) => {
    throw error
  })
  failed.catch(() => {}) // it is awaited below

  tellFailures(peer, terminal)
  peer.on('rotated', ({ fingerprint }) =>
    terminal.tell({ type: 'rotated', fingerprint }, 'The certificate was replaced')
  )
  try {
    if (!announceOnly) talk(peer, terminal)
    const port = announceOnly ? (options.port as number) : await peer.listen({ port: options.port ?? 0, host })
    const announced = peer.announce({ port, host, ...(ttl !== undefined && { ttl }) })
    announced.catch(() => {}) // it is awaited below, or no longer matters
    await Promise.race([ended, announced])
    if (end.aborted) return
    terminal.tell({ type: 'up', email: peer.email, port }, `${peer.email} is online at port ${port}; Ctrl-C ends`)
    await Promise.race([ended, failed])
  } finally {
    release()
    terminal.stdin.destroy()
  }
}

/** Reports each failure once, until there is another one or a success. */
function tellFailures(peer: RelayPeer, terminal: Terminal) {
  let last = ''
  peer.on('announced', () => {
    last = ''
  })
  peer.on('retrying', (error, delay) => {
    if (error.message === last) return
    last = error.message
    const seconds = Math.ceil(delay / 1000)
    terminal.tell({ type: 'retrying', error: last, seconds }, `${last}; trying again until it works`)
  })
}

function talk(peer: RelayPeer, terminal: Terminal) {
  const sockets = new Set<TLSSocket>()
  peer.on('refused', ({ message }, address) =>
    terminal.tell({ type: 'refused', address, error: message }, `Refused a caller from ${address}: ${message}`)
  )
  peer.on('connection', async (socket, { email }) => {
    sockets.add(socket.setEncoding('utf8').setKeepAlive(true, PROBE))
    terminal.tell({ type: 'connected', email }, `${email} is connected`)
    try {
      for await (const line of lines(socket)) {
        terminal.print({ type: 'line', email, line }, `${email}: ${harmless(line)}`)
      }
    } catch {} // it broke off, or sent no lines
    sockets.delete(socket)
    socket.destroy()
    terminal.tell({ type: 'disconnected', email }, `${email} has gone`)
  })
  terminal.stdin.setEncoding('utf8').on('data', (text) => {
    for (const socket of sockets) socket.write(text)
  })
}
