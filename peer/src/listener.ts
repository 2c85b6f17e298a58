import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { PROTOCOL, peerFingerprint } from './connection.ts'
import type { Credentials } from './identity.ts'
import type { Broadcast } from './tracker.ts'

/** Milliseconds for a caller's TLS handshake. */
const HANDSHAKE_TIMEOUT = 10_000
/** Callers who are not accepted yet. */
const MAX_WAITING = 64
/** Callers altogether. */
const MAX_CONNECTIONS = 1024

/**
 * Takes calls of other peers. Who calls is known by the certificate that the handshake proved, and by the tracker; nothing is
 * read from anyone before that.
 *
 * @param options.credentials asked anew for each caller: they change
 * @param options.identify who has a certificate with this fingerprint; throws when nobody online has
 * @param options.onCaller told of each caller that was identified
 * @param options.onRefused told of each that was not
 * @returns the port, and how to stop, which also ends what was accepted
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
    rejectUnauthorized: false, // no authority vouches for peers: the tracker knows who has which certificate
    handshakeTimeout: HANDSHAKE_TIMEOUT
  })
  server.maxConnections = MAX_CONNECTIONS

  // Before the server's own listener, which begins the handshake.
  server.prependListener('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    server.getConnections((_, connections) => {
      if (connections - accepted.size > MAX_WAITING) socket.destroy()
    })
    const { certificate, privateKey } = options.credentials()
    server.setSecureContext({ cert: certificate, key: privateKey })
  })

  // Node reports a handshake that takes too long, but leaves it open.
  server.on('tlsClientError', (_, socket) => socket.destroy())

  server.on('secureConnection', async (socket) => {
    socket.on('close', () => accepted.delete(socket))
    socket.on('error', () => {}) // a peer that breaks off ends nothing but its connection
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
