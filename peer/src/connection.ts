import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { PeerError } from './errors.ts'
import { type Credentials, fingerprintOf } from './identity.ts'
import { race } from './race.ts'

/** The protocol between peers, for ALPN (RFC 7301). */
export const PROTOCOL = 'relay-peer/1'
/** Milliseconds for one address, including the handshake. */
const TIMEOUT = 10_000

/**
 * Connects to the peer whose certificate has this fingerprint, at the first of its addresses where it answers. They are tried in
 * order, each with a short head start (RFC 8305). Nothing is sent to anybody else.
 *
 * @throws PeerError `impostor` if only peers with another certificate answered, otherwise `peer_unreachable`
 */
export async function connectToPeer(
  peer: { email: string; addresses: string[]; port: number; fingerprint: string },
  credentials: Credentials,
  signal: AbortSignal
): Promise<TLSSocket> {
  const attempts = peer.addresses.map(
    (address) => (losers: AbortSignal) => attempt({ ...peer, address }, credentials, AbortSignal.any([signal, losers]))
  )
  try {
    return await race(attempts)
  } catch (error) {
    signal.throwIfAborted()
    const { errors } = error as AggregateError
    const impostor = errors.find((error) => error instanceof PeerError)
    if (impostor) throw impostor
    const where = peer.addresses.map((address, index) => `${address} (${errors[index].message})`).join(', ')
    throw new PeerError('peer_unreachable', `${peer.email} cannot be reached at port ${peer.port} of ${where}`, error)
  }
}

/** The fingerprint of the certificate that the other side proved in the handshake, if it presented one. */
export function peerFingerprint(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate && fingerprintOf(certificate.raw)
}

async function attempt(
  { address, port, email, fingerprint }: { address: string; port: number; email: string; fingerprint: string },
  { certificate, privateKey }: Credentials,
  signal: AbortSignal
) {
  const socket = connect({
    host: address,
    port,
    cert: certificate,
    key: privateKey,
    minVersion: 'TLSv1.2',
    ALPNProtocols: [PROTOCOL],
    rejectUnauthorized: false // no authority vouches for peers: the fingerprint decides
  })
  socket.on('error', () => {}) // a peer that breaks off ends only its own connection
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]) })
    if (peerFingerprint(socket) !== fingerprint) {
      throw new PeerError(
        'impostor',
        `the peer at ${address} port ${port} is not ${email}: its certificate is not the one that the tracker names`
      )
    }
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}
