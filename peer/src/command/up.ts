import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import type { RelayPeer } from '../index.ts'
import { endOfProcess } from './end.ts'
import { CommandError } from './failure.ts'
import { lines } from './lines.ts'
import { harmless, tell } from './output.ts'
import { markRunning } from './running.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

interface UpOptions extends CommonOptions {
  port?: number
  host?: string
  ttl?: number
  announceOnly?: boolean
}

/** Milliseconds of silence after which a connection is probed. */
const PROBE = 30_000

/** `relay-peer up`: online until it is ended, talking with who calls. */
export const up = verb(
  'up',
  'Go online, and stay so until Ctrl-C or relay-peer down. Prints the lines that peers send, and sends them those that it reads',
  'relay-peer up',
  'relay-peer up --port 54321 --announce-only   # another program listens there'
)
  .option('--port <number>', 'where to listen; any free port otherwise', wholeNumber)
  .option('--host <address>', "the address to listen on; all of the machine's otherwise")
  .option('--ttl <seconds>', 'how long to be found after an end without farewell', wholeNumber)
  .option('--announce-only', 'do not listen: another program does, at --port')
  .action(async (options: UpOptions) => {
    if (options.announceOnly && options.port === undefined) {
      throw new CommandError('usage', '--announce-only needs --port: where does the other program listen?')
    }
    await withPeer(options, async (peer) => {
      // Removed when the peer was closed: `down` waits for that.
      const unmark = markRunning(options.dir)
      try {
        await stayUp(peer, options)
      } finally {
        await peer.close()
        unmark()
      }
    })
  })

async function stayUp(peer: RelayPeer, options: UpOptions) {
  const { host, announceOnly, ttl } = options
  const { end, release } = endOfProcess()
  const ended = once(end, 'abort')
  const failed = once(peer, 'error').then(([error]) => {
    throw error
  })
  failed.catch(() => {}) // it is awaited below

  tellFailures(peer, options)
  peer.on('rotated', ({ fingerprint }) =>
    tell(options, { type: 'rotated', fingerprint }, 'The certificate is a new one')
  )
  try {
    if (!announceOnly) talk(peer, options)
    const port = announceOnly ? (options.port as number) : await peer.listen({ port: options.port ?? 0, host })
    const announced = peer.announce({ port, host, ...(ttl !== undefined && { ttl }) })
    announced.catch(() => {}) // it is awaited, or of no interest any more
    await Promise.race([ended, announced])
    if (end.aborted) return
    tell(options, { type: 'up', email: peer.email, port }, `${peer.email} is online at port ${port}; Ctrl-C ends`)
    await Promise.race([ended, failed])
  } finally {
    release()
    process.stdin.destroy()
  }
}

/** Each kind of failure is told once, until there is another. */
function tellFailures(peer: RelayPeer, options: UpOptions) {
  let last = ''
  peer.on('announced', () => {
    last = ''
  })
  peer.on('retrying', (error, delay) => {
    if (error.message === last) return
    last = error.message
    const seconds = Math.ceil(delay / 1000)
    tell(options, { type: 'retrying', error: last, seconds }, `${last}; trying again until it works`)
  })
}

function talk(peer: RelayPeer, options: UpOptions) {
  const sockets = new Set<TLSSocket>()
  peer.on('refused', ({ message }, address) =>
    tell(options, { type: 'refused', address, error: message }, `Refused a caller from ${address}: ${message}`)
  )
  peer.on('connection', async (socket, { email }) => {
    sockets.add(socket.setEncoding('utf8').setKeepAlive(true, PROBE))
    tell(options, { type: 'connected', email }, `${email} is connected`)
    try {
      for await (const line of lines(socket)) {
        if (options.json) console.log(JSON.stringify({ type: 'line', email, line }))
        else console.log(`${email}: ${harmless(line)}`)
      }
    } catch {} // it broke off, or sends what are no lines
    sockets.delete(socket)
    socket.destroy()
    tell(options, { type: 'disconnected', email }, `${email} has gone`)
  })
  process.stdin.setEncoding('utf8').on('data', (text) => {
    for (const socket of sockets) socket.write(text)
  })
}

function wholeNumber(text: string) {
  if (!/^\d{1,6}$/.test(text)) throw new CommandError('usage', `${text} is no whole number`)
  return Number(text)
}
