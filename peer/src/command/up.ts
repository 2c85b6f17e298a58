import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { CommandError, type Terminal } from '../cli/terminal.ts'
import { harmless } from '../cli/text.ts'
import { PeerError, type RelayPeer, TrackerError } from '../index.ts'
import { endOfProcess } from './end.ts'
import { lines } from './lines.ts'
import { withPeer } from './with-peer.ts'

interface Options {
  dir: string
  port?: number
  host?: string
  address?: string[]
  ttl?: number
  announceOnly?: boolean
}

/** `relay-peer up`: stays online until it is told to end, and talks to callers. */
export async function up(terminal: Terminal, options: Options) {
  if (options.announceOnly && options.port === undefined) {
    throw new CommandError('usage', '--announce-only needs --port: the one on which the other program listens')
  }
  await withPeer(options, (peer) => stayUp(peer, terminal, options))
}

async function stayUp(peer: RelayPeer, terminal: Terminal, options: Options) {
  const { host, address: addresses, announceOnly, ttl } = options
  const { end, release } = endOfProcess(terminal)
  const ended = once(end, 'abort')
  const stopped = untilStopped(peer)
  stopped.catch(() => {}) // it is awaited below
  tellFailures(peer, terminal)
  peer.on('rotated', ({ fingerprint }) =>
    terminal.tell({ type: 'rotated', fingerprint }, 'The certificate was replaced')
  )
  try {
    if (!announceOnly) talk(peer, terminal)
    const port = announceOnly ? (options.port as number) : await peer.listen({ port: options.port, host })
    const announced = untilOnline(peer)
    await Promise.race([ended, peer.announce({ port, host, addresses, ttl }).catch(orUntrusted)])
    await Promise.race([ended, stopped, announced])
    if (end.aborted || peer.state.name === 'stopped') return
    terminal.tell({ type: 'up', email: peer.email, port }, `${peer.email} is online at port ${port}; Ctrl-C ends`)
    await Promise.race([ended, stopped])
  } finally {
    release()
    terminal.stdin.destroy()
  }
}

/** The announcement keeps trying. */
function orUntrusted(error: Error) {
  if (!(error instanceof TrackerError) || error.code !== 'tracker_untrusted') throw error
}

function untilOnline(peer: RelayPeer): Promise<void> {
  return new Promise((resolve) => peer.on('state', ({ name }) => name === 'online' && resolve()))
}

/** Rejects unless `relay-peer down` asked for it. */
function untilStopped(peer: RelayPeer): Promise<void> {
  return new Promise((resolve, reject) =>
    peer.on('state', (state) => {
      if (state.name !== 'stopped') return
      const { reason } = state
      if (reason && !(reason instanceof PeerError && reason.code === 'closed')) reject(reason)
      else resolve()
    })
  )
}

/** Reports each failure once, until there is another one or a success. */
function tellFailures(peer: RelayPeer, terminal: Terminal) {
  let last = ''
  peer.on('state', (state) => {
    if (state.name === 'online') last = ''
    if (state.name !== 'retrying' && state.name !== 'untrusted') return
    const { message } = state.reason
    if (message === last) return
    last = message
    const seconds = Math.ceil((state.nextAttempt.getTime() - Date.now()) / 1000)
    terminal.tell({ type: state.name, error: last, seconds }, `${last}; trying again`)
  })
}

function talk(peer: RelayPeer, terminal: Terminal) {
  const sockets = new Set<TLSSocket>()
  peer.on('refused', ({ message }, address) =>
    terminal.tell({ type: 'refused', address, error: message }, `Refused a caller from ${address}: ${message}`)
  )
  peer.on('connection', async (socket, { email }) => {
    sockets.add(socket.setEncoding('utf8'))
    terminal.tell({ type: 'connected', email }, `${email} connected`)
    try {
      for await (const line of lines(socket)) {
        terminal.print({ type: 'line', email, line }, `${email}: ${harmless(line)}`)
      }
    } catch {} // the connection broke, or a line was too long
    sockets.delete(socket)
    socket.destroy()
    terminal.tell({ type: 'disconnected', email }, `${email} disconnected`)
  })
  terminal.stdin.setEncoding('utf8').on('data', (text) => {
    for (const socket of sockets) socket.write(text)
  })
}
