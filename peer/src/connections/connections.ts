import { setTimeout } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { PeerError } from '../errors.ts'
import { fingerprintOf, type Identity } from '../identity/identity.ts'
import type { Broadcast } from '../tracker/tracker.ts'
import type { TrackerSession } from '../tracker/tracker-session.ts'
import { inLikelyOrder } from './address-order.ts'
import { type Caller, isTrackerAway } from './caller.ts'
import { dial, toPem, type Until } from './dial.ts'
import type { KnownPeers } from './known-peers.ts'
import { listenForPeers } from './listener.ts'

/** Milliseconds before a peer whose certificate was not the expected one is looked up again: it may be rotating. */
const ROTATION_PAUSE = 500
/** Milliseconds for the tracker's answer about a known peer, before its last addresses are tried. */
const LOOKUP_PATIENCE = 3000

/** A peer to call: the tracker's answer about it, or what is known of it. */
type Target = Pick<Broadcast, 'email' | 'fingerprint' | 'port' | 'addresses' | 'rotations'>

interface ListenOptions {
  port?: number | undefined
  host?: string | undefined
  accept?: ((caller: Caller) => boolean | Promise<boolean>) | undefined
}

interface OnEvent {
  /** Whether anybody wants connections. */
  isWanted: () => boolean
  connection: (socket: TLSSocket, caller: Caller) => void
  refused: (reason: Error, address: string) => void
}

/** Connections with other peers, in both directions: those that the tracker names or, while it is away, known ones. */
export class Connections {
  readonly #identity: Identity
  readonly #session: TrackerSession
  readonly #knownPeers: KnownPeers
  readonly #onEvent: OnEvent
  /** Those that this peer has called. */
  readonly #called = new Set<TLSSocket>()
  #listener: ReturnType<typeof listenForPeers> | undefined

  constructor(identity: Identity, session: TrackerSession, knownPeers: KnownPeers, onEvent: OnEvent) {
    this.#identity = identity
    this.#session = session
    this.#knownPeers = knownPeers
    this.#onEvent = onEvent
  }

  /** Calls the peer with this e-mail address, or the one that a broadcast describes. */
  async connect(to: string | Broadcast, until: Until): Promise<TLSSocket> {
    if (typeof to !== 'string') return this.#call(to, until)
    if (to === this.#identity.settings.email) {
      throw new PeerError('own_identity', `${to} is this peer itself`, { email: to })
    }
    const signal = AbortSignal.any([until.signal, until.limit])
    try {
      return await this.#call(await this.#findByEmail(to, signal), until)
    } catch (error) {
      if (!(error instanceof PeerError) || !error.attempts?.some(({ code }) => code === 'other_peer')) throw error
      await setTimeout(ROTATION_PAUSE, undefined, { signal })
      return await this.#call(await this.#findByEmail(to, signal), until)
    }
  }

  /** Listens, in place of an earlier listener. @returns the port */
  async listen({ port, host, accept }: ListenOptions): Promise<number> {
    const ended = this.#endListener()
    const listen = (port: number) =>
      listenForPeers({
        port,
        host,
        credentials: () => this.#identity.refresh(),
        identify: async (certificate) => {
          if (!this.#onEvent.isWanted()) throw declined()
          const caller = await this.#identify(certificate)
          if (accept && !(await accept(caller))) throw declined()
          return caller
        },
        onCaller: this.#onEvent.connection,
        onRefused: this.#onEvent.refused
      })
    this.#listener = ended.then(() => (port === undefined ? this.#listenAsBefore(listen) : listen(port)))
    return (await this.#listener).port
  }

  /** Listens on the same port as last time, which other peers remember, or on any free one if another program uses it. */
  async #listenAsBefore(listen: (port: number) => ReturnType<typeof listenForPeers>) {
    const { port: before = 0 } = this.#identity.settings
    const listener = await listen(before).catch(() => listen(0))
    try {
      if (listener.port !== before) this.#identity.save({ port: listener.port })
    } catch {
      // It will be another one next time.
    }
    return listener
  }

  /** Presents new credentials. */
  renew() {
    this.#listener?.then(({ renew }) => renew(), nothing)
  }

  /** Stops listening, and ends all connections. */
  async close() {
    for (const socket of this.#called) socket.destroy()
    await this.#endListener()
  }

  /** Also ends a listener that has not begun to listen yet. */
  async #endListener() {
    const listener = await this.#listener?.catch(nothing)
    await listener?.close()
  }

  /** What the tracker says, or what is known if the tracker does not answer. */
  async #find<Found>(
    by: { email: string } | { fingerprint: string },
    known: Found | undefined,
    signal: AbortSignal
  ): Promise<Broadcast | Found> {
    const patience = known ? AbortSignal.any([signal, AbortSignal.timeout(LOOKUP_PATIENCE)]) : signal
    try {
      return await this.#session.call((tracker, signal) => tracker.lookup(by, signal), patience)
    } catch (error) {
      signal.throwIfAborted()
      if (known && (patience.aborted || isTrackerAway(error))) return known
      throw error
    }
  }

  #findByEmail(email: string, signal: AbortSignal): Promise<Target> {
    const known = this.#knownPeers.find(email)
    return this.#find({ email }, known?.addresses.length ? known : undefined, signal)
  }

  async #call(target: Target, until: Until): Promise<TLSSocket> {
    const { email, fingerprint, port, addresses } = target
    const credentials = this.#identity.refresh()
    if (fingerprint === credentials.fingerprint) {
      throw new PeerError('own_identity', `${email} is this peer itself`, { email })
    }
    const knownGood = this.#knownPeers.check(target)?.addresses ?? []
    const candidates = inLikelyOrder(addresses, { knownGood })
    const { socket, certificate, address } = await dial({ email, fingerprint, port, candidates }, credentials, until)
    this.#knownPeers.remember({ ...target, certificate, address })
    if (!socket.destroyed) this.#called.add(socket)
    return socket.on('close', () => this.#called.delete(socket))
  }

  /** Finds out who is calling. Throws if `listenForPeers` is to refuse it. */
  async #identify(certificate: Buffer): Promise<Caller> {
    const fingerprint = fingerprintOf(certificate)
    const known = this.#knownPeers.findByFingerprint(fingerprint)
    const caller = await this.#find({ fingerprint }, known, this.#session.until(undefined))
    if (caller === known) return caller
    this.#knownPeers.check(caller)
    this.#knownPeers.remember({ ...caller, certificate: toPem(certificate) })
    return caller
  }
}

function declined() {
  return new PeerError('refused', 'the application did not accept the caller', { reason: 'declined' })
}

function nothing() {}
