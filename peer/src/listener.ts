import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { PROTOCOL, peerFingerprint } from './connection.ts'
import type { Credentials } from './identity.ts'
import type { Broadcast } from './tracker.ts'

/** Milliseconds for a caller's TLS handshake. */
const HANDSHAKE_TIMEOUT = 10_000
/** Callers that are not accepted yet. */
const MAX_WAITING = 64
/** All callers. */
const MAX_CONNECTIONS = 1024

/**
 * Accepts calls from other peers. The tracker says whose certificate a caller proved in the handshake; nothing is read before that.
 *
 * @param options.credentials called for each caller, because they change
 * @param options.identify finds the peer whose certificate has this fingerprint; throws if none is online
 * @returns the port, and `close`, which also ends all connections
 */
export async function listenForPeers(options: {
  host?: string | undefined
  port: number
  credentials: () => Credentials
  identify: (fingerprint: string) => Promise<Broadcast>
  onCaller: (socket: TLSSocket, peer: Broadcast) => void
  onRefused: (reason: Error, address: string) => void
}) {
  const sockets = new Set<Socket>()
  const accepted = new Set<TLSSocket>()
  const server = createServer({
    minVersion: 'TLSv1.2',
    ALPNProtocols: [PROTOCOL],
    requestCert: true,
    rejectUnauthorized: false, // no authority vouches for peers: the tracker knows their certificates
    handshakeTimeout: HANDSHAKE_TIMEOUT
  })
  server.maxConnections = MAX_CONNECTIONS

  // Before the server's own listener, which starts the handshake.
  server.prependListener('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    server.getConnections((_, connections) => {
      if (connections - accepted.size > MAX_WAITING) socket.destroy()
    })
    const { certificate, privateKey } = options.credentials()
    server.setSecureContext({ cert: certificate, key: privateKey })
  })

  // Node.js reports a handshake that takes too long, but leaves the connection open.
  server.on('tlsClientError', (_, socket) => socket.destroy())

  server.on('secureConnection', async (socket) => {
    socket.on('close', () => accepted.delete(socket))
    socket.on('error', () => {}) // a peer that breaks off ends only its own connection
    try {
      const fingerprint = peerFingerprint(socket)
      if (!fingerprint) throw new Error('it presented no certificate')
      const peer = await options.identify(fingerprint)
      if (socket.destroyed) return
      accepted.add(socket)
      options.onCaller(socket, peer)
    } catch (error) {
      options.onRefused(error as Error, String(socket.remoteAddress))
      socket.destroy()
    }
  })

  await once(server.listen({ ...(options.host && { host: options.host }), port: options.port }), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    }
  }
}
