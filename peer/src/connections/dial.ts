import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { type Attempt, PeerError } from '../errors.ts'
import { type Credentials, fingerprintOf } from '../identity/identity.ts'
import type { Candidate } from './address-order.ts'
import { race } from './race.ts'
import { PROTOCOL, type Refusal, readVerdict } from './verdict.ts'

/** Milliseconds for one address, including the handshake. */
const PATIENCE = 10_000
/** Milliseconds of silence after which the operating system probes a connection. */
export const KEEP_ALIVE = 30_000

const REFUSALS: Record<Refusal, string> = {
  not_online: 'peers accept only peers that are online',
  declined: 'its application declined the call',
  fingerprint_changed: 'it knows this one by another certificate',
  unavailable: 'it cannot ask the tracker who is calling',
  busy: 'too many peers are connected to it'
}

/** OpenSSL's own words are for its developers. */
const OPENSSL: Record<string, string> = {
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: `what answers there does not speak ${PROTOCOL}`,
  ERR_SSL_WRONG_VERSION_NUMBER: 'what answers there does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'what answers there does not speak TLS'
}

export interface Callee {
  email: string
  fingerprint: string
  port: number
  candidates: Candidate[]
  /** Milliseconds for one address; 10,000 by default. */
  patience?: number
}

/** When to give up. */
export interface Until {
  /** The caller has cancelled. */
  signal: AbortSignal
  /** The time is up. This is then the reason of each address that has not answered. */
  limit: AbortSignal
}

/** A connection on which the callee has proved its certificate, and what the socket no longer tells once it is closed. */
interface Reached {
  socket: TLSSocket
  address: string
  /** PEM. */
  certificate: string
}

/** Why an address did not work. */
class AttemptError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Connects to a peer at the first of its addresses where it answers, and waits until it accepts the caller. The addresses are tried in
 * order, each with a short head start (RFC 8305). Nothing is sent to anyone else.
 *
 * @throws PeerError `refused`; `impostor` if somebody else answered where only the peer should be; otherwise `peer_unreachable`; or the
 *   signal's reason
 */
export async function dial(callee: Callee, credentials: Credentials, until: Until): Promise<Reached> {
  const { signal, limit } = until
  const reached = await reach(callee, credentials, until)
  const { socket, address } = reached
  let refusal: string | undefined
  try {
    refusal = await readVerdict(socket, AbortSignal.any([signal, limit]))
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    const reason = limit.aborted ? new AttemptError('timeout', 'it did not accept or refuse in time') : error
    throw unreachable(callee, [toAttempt(callee, address, reason as Error)])
  }
  if (refusal === undefined) {
    socket.setKeepAlive(true, KEEP_ALIVE)
    return reached
  }
  socket.destroy()
  const why = (REFUSALS as Record<string, string>)[refusal] ?? refusal
  throw new PeerError('refused', `${callee.email} does not accept this peer: ${why}`, {
    reason: refusal,
    email: callee.email
  })
}

/** The fingerprint of the certificate that the other side proved in the handshake; undefined if it presented none. */
export function peerFingerprint(socket: TLSSocket): string | undefined {
  const der = peerCertificate(socket)
  return der && fingerprintOf(der)
}

/** The other side's certificate as DER. Not by `getPeerX509Certificate`, which answers a client only once. */
export function peerCertificate(socket: TLSSocket): Buffer | undefined {
  return socket.getPeerCertificate()?.raw
}

/** Connects to the first of a peer's addresses at which it proves its certificate. */
async function reach(callee: Callee, credentials: Credentials, { signal, limit }: Until): Promise<Reached> {
  const { email, candidates } = callee
  const reached = new Map<TLSSocket, Reached>()
  const attempts = candidates.map(({ address }) => async (losers: AbortSignal) => {
    const until = { signal: AbortSignal.any([signal, losers]), limit }
    const { socket, certificate } = await handshake(callee, address, credentials, until)
    reached.set(socket, { socket, certificate, address })
    return socket
  })
  try {
    return reached.get(await race(attempts)) as Reached
  } catch (error) {
    signal.throwIfAborted()
    const { errors } = error as AggregateError
    const failed = candidates.map(({ address }, index) => toAttempt(callee, address, errors[index]))
    const impostor = failed.find(({ code }, index) => code === 'other_peer' && candidates[index]?.isTelling)
    if (impostor) {
      const where = `${impostor.address} port ${impostor.port}`
      throw new PeerError('impostor', `what answers at ${where} is not ${email}: it has another certificate`, {
        attempts: failed,
        email
      })
    }
    throw unreachable(callee, failed, error)
  }
}

async function handshake(
  { port, email, fingerprint, patience = PATIENCE }: Callee,
  address: string,
  { certificate, privateKey, fingerprint: own }: Credentials,
  { signal, limit }: Until
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
  const timeout = AbortSignal.any([limit, AbortSignal.timeout(patience)])
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.any([signal, timeout]) })
    const proved = peerCertificate(socket)
    const presented = proved && fingerprintOf(proved)
    if (presented === own) throw new AttemptError('own_identity', 'this peer itself answers there')
    if (!proved || presented !== fingerprint) throw new AttemptError('other_peer', `what answers there is not ${email}`)
    return { socket, certificate: toPem(proved) }
  } catch (error) {
    socket.destroy()
    throw timeout.aborted ? new AttemptError('timeout', 'no answer in time') : error
  }
}

/** A certificate as PEM. */
export function toPem(der: Buffer): string {
  return new X509Certificate(der).toString()
}

function toAttempt({ port }: Callee, address: string, error: Error & { code?: unknown }): Attempt {
  const code = typeof error.code === 'string' ? error.code : 'failed'
  return { address, port, code, message: OPENSSL[code] ?? error.message.trim() }
}

function unreachable({ email }: Callee, attempts: Attempt[], cause?: unknown) {
  const where = attempts.map(({ address, port, message }) => `${address} port ${port}: ${message}`).join('; ')
  return new PeerError('peer_unreachable', `${email} cannot be reached (${where})`, { attempts, email, cause })
}
