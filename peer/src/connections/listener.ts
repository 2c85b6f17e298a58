import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { PeerError, TrackerError } from '../errors.ts'
import type { Credentials } from '../identity/identity.ts'
import { isTrackerAway } from './caller.ts'
import { KEEP_ALIVE, peerCertificate } from './dial.ts'
import { accept, PROTOCOL, type Refusal, refuse } from './verdict.ts'

/** Milliseconds for a caller's TLS handshake. */
const HANDSHAKE_TIMEOUT = 10_000
/** Milliseconds for a caller to be told why it is refused. */
const REFUSAL_TIMEOUT = 2000
/** Callers in the handshake; if there are more, the one that has taken longest is cut off. Also callers about whom the tracker is asked. */
const MAX_WAITING = 256
/** All callers. */
const MAX_CONNECTIONS = 1024

/**
 * Accepts calls from other peers. The certificate that a caller proved in the handshake says who it is; nothing is read before that.
 *
 * @param options.credentials called for each caller, because they change
 * @param options.identify finds the peer whose certificate (DER) this is; throws if it is not to be accepted
 * @param options.onCaller takes the connection of an accepted caller
 * @returns the port; `renew`, to call when the credentials have changed; and `close`, which also ends all connections
 */
export async function listenForPeers<Caller>(options: {
  host?: string | undefined
  port: number
  credentials: () => Credentials
  identify: (certificate: Buffer) => Promise<Caller>
  onCaller: (socket: TLSSocket, caller: Caller) => void
  onRefused: (reason: Error, address: string) => void
}) {
  const sockets = new Set<Socket>()
  let waiting = 0
  const shaking = new Map<string, Socket>()
  const secureContext = () => {
    const { certificate: cert, privateKey: key } = options.credentials()
    return { cert, key }
  }
  const server = createServer({
    ...secureContext(), // Bun uses the one that it has when a connection begins
    minVersion: 'TLSv1.2',
    ALPNProtocols: [PROTOCOL],
    requestCert: true,
    rejectUnauthorized: false, // no authority vouches for peers: the tracker knows their certificates
    handshakeTimeout: HANDSHAKE_TIMEOUT
  })
  server.maxConnections = MAX_CONNECTIONS

  function renew() {
    try {
      server.setSecureContext(secureContext())
    } catch {
      // They cannot be read now, such as with too many open files: those before may still be valid.
    }
  }

  // Before the server's own listener, which starts the handshake.
  server.prependListener('connection', (socket) => {
    const key = endpoint(socket)
    sockets.add(socket)
    shaking.set(key, socket)
    socket.on('close', () => {
      sockets.delete(socket)
      shaking.delete(key)
    })
    if (shaking.size > MAX_WAITING) shaking.values().next().value?.destroy()
    renew()
  })
  server.on('error', () => {}) // such as too many open files, which may pass

  // Node.js reports a handshake that takes too long, but leaves the connection open.
  server.on('tlsClientError', (_, socket) => socket.destroy())

  server.on('secureConnection', async (socket) => {
    shaking.delete(endpoint(socket))
    socket.on('error', () => {}) // a peer that breaks off ends only its own connection
    const address = String(socket.remoteAddress)
    waiting++
    try {
      if (waiting > MAX_WAITING) throw new PeerError('refused', 'too many callers are waiting', { reason: 'busy' })
      const certificate = peerCertificate(socket)
      if (!certificate) throw new Error('it presented no certificate')
      const caller = await options.identify(certificate)
      if (socket.destroyed) return
      socket.setKeepAlive(true, KEEP_ALIVE)
      accept(socket)
      options.onCaller(socket, caller)
    } catch (error) {
      options.onRefused(error as Error, address)
      refuse(socket, refusalFor(error))
      setTimeout(() => socket.destroy(), REFUSAL_TIMEOUT).unref()
    } finally {
      waiting--
    }
  })

  await once(server.listen({ ...(options.host && { host: options.host }), port: options.port }), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    renew,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    }
  }
}

/** Also identifies the connection that carries a TLS connection. */
function endpoint({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function refusalFor(error: unknown): Refusal {
  if (error instanceof PeerError && error.code === 'refused') return error.reason as Refusal
  if (error instanceof PeerError && error.code === 'fingerprint_changed') return 'fingerprint_changed'
  return isTrackerAway(error) || !(error instanceof TrackerError) ? 'unavailable' : 'not_online'
}
