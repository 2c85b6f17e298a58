import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { listenAddresses } from './addresses.ts'
import { stayAnnounced } from './announcer.ts'
import { backoff, pause } from './backoff.ts'
import { connectToPeer } from './connection.ts'
import { isCertificateUnknown, PeerError, TrackerError } from './errors.ts'
import { type Credentials, Identity, type Settings } from './identity.ts'
import { listenForPeers } from './listener.ts'
import { isRotationDue, recover, rotate } from './rotation.ts'
import { type Broadcast, createTracker, type Tracker } from './tracker.ts'

/** What a watcher is told: everyone online at first and after an interruption, and in between who comes, changes and goes. */
export type Change =
  | { type: 'list'; peers: Broadcast[] }
  | { type: 'online'; peer: Broadcast }
  | { type: 'offline'; email: string }

export interface AnnounceOptions {
  /** Where this peer listens. */
  port: number
  /** The address that it listens on; by default all of the machine's. */
  host?: string | undefined
  /** What to announce instead of the machine's addresses; called every 10 s. */
  addresses?: () => string[]
  /** Whether to announce the address at which the tracker sees this machine too; by default true. */
  observed?: boolean
  /** A JSON object of at most 4096 bytes. */
  capabilities?: Record<string, unknown>
  /** Seconds to stay online without another announcement, at least 60; by default up to the tracker. */
  ttl?: number
}

interface Events {
  /** This peer is online for this many seconds. */
  announced: [{ expires_in: number; observed_address: string | null }]
  /** An announcement or a rotation failed, and is tried again after this many milliseconds. */
  retrying: [error: Error, delay: number]
  /** A peer that is online has called. Nothing has been read from it. */
  connection: [socket: TLSSocket, peer: Broadcast]
  /** A caller from this address is unknown or not online. */
  refused: [reason: Error, address: string]
  /** The certificate was replaced, by this or another process. */
  rotated: [credentials: Credentials]
  /** This peer is no longer announced, and trying again would not help. */
  error: [Error]
}

/** Milliseconds before a peer whose certificate was not the expected one is looked up again: it may be rotating. */
const ROTATION_PAUSE = 500
/** Milliseconds for the last call, which withdraws. */
const WITHDRAW_TIMEOUT = 5000

/**
 * A peer: its identity, its registration at the tracker, and its connections to other peers.
 *
 * Calls to the tracker throw a TrackerError; `connect` also a PeerError. After `close` all fail.
 */
export class RelayPeer extends EventEmitter<Events> {
  readonly #identity: Identity
  readonly #tracker: Tracker
  readonly #closing = new AbortController()
  #announcing: Promise<void> | undefined
  #listener: Awaited<ReturnType<typeof listenForPeers>> | undefined

  private constructor(identity: Identity) {
    super()
    this.#identity = identity
    identity.onChange = (credentials) => this.emit('rotated', credentials)
    const { tracker: url, ca } = identity.settings
    this.#tracker = createTracker({ url, ca, credentials: () => this.#identity.credentials })
  }

  /**
   * Loads the identity in a folder, or if there is none, makes one there with these settings.
   *
   * @throws PeerError `no_identity`; `other_identity` if it is for another address or tracker; `invalid_tracker` if that is no https URL
   */
  static async open({ dir, ...settings }: { dir: string } & Partial<Settings>): Promise<RelayPeer> {
    const { tracker, email, ca } = settings
    if (tracker === undefined || email === undefined) return new RelayPeer(Identity.load(dir))
    if (!Identity.exists(dir)) {
      const requested = { tracker: originOf(tracker), email: email.toLowerCase(), ...(ca !== undefined && { ca }) }
      return new RelayPeer(await Identity.create(dir, requested))
    }
    const identity = Identity.load(dir)
    if (identity.settings.email !== email.toLowerCase() || identity.settings.tracker !== originOf(tracker)) {
      const { email, tracker } = identity.settings
      throw new PeerError('other_identity', `the identity in ${dir} is that of ${email} at ${tracker}`)
    }
    if (ca !== undefined) identity.trust(ca)
    return new RelayPeer(identity)
  }

  /** Whether this folder has an identity. */
  static exists(dir: string): boolean {
    return Identity.exists(dir)
  }

  get email(): string {
    return this.#identity.settings.email
  }

  get tracker(): string {
    return this.#identity.settings.tracker
  }

  /** Key and certificate, for a program that listens itself. They change: see `rotated`. */
  get credentials(): Credentials {
    return this.#identity.credentials
  }

  /**
   * Registers at the tracker; safe to repeat.
   *
   * @returns whether somebody must open the link that the tracker sent to the e-mail address
   */
  async register(): Promise<{ isEmailPending: boolean }> {
    try {
      const { email_verification } = await this.#tracker.register(this.email, this.credentials, this.#closing.signal)
      return { isEmailPending: email_verification === 'pending' }
    } catch (error) {
      if (error instanceof TrackerError && error.code === 'already_registered') return { isEmailPending: false }
      throw error
    }
  }

  /**
   * Listens for other peers and emits `connection` for each that is online.
   *
   * @param options.port 0 for any free one
   * @returns the port
   */
  async listen({ port = 0, host }: { port?: number; host?: string | undefined } = {}): Promise<number> {
    this.#listener = await listenForPeers({
      port,
      host,
      credentials: () => this.#identity.refresh(),
      identify: (fingerprint) => this.#call((signal) => this.#tracker.lookup({ fingerprint }, signal)),
      onCaller: (socket, peer) => {
        if (!this.emit('connection', socket, peer)) socket.destroy()
      },
      onRefused: (reason, address) => this.emit('refused', reason, address)
    })
    return this.#listener.port
  }

  /**
   * Announces this peer until `close`, and replaces its certificate in time.
   *
   * @returns when it is online for the first time; a permanent failure after that is emitted as `error`
   */
  async announce(options: AnnounceOptions): Promise<void> {
    const { port, host, observed = true, capabilities, ttl } = options
    const rest = { port, ...(capabilities && { capabilities }), ...(ttl !== undefined && { ttl }) }
    const announcing = stayAnnounced({
      addresses: options.addresses ?? (() => listenAddresses(host, { observed })),
      announce: (addresses) => this.#announce({ ...rest, addresses }),
      onFailure: (error, delay) => this.emit('retrying', error, delay),
      signal: this.#closing.signal
    })
    this.#announcing = announcing.catch(() => {})
    await Promise.race([announcing, new Promise((online) => this.once('announced', online))])
    this.#closing.signal.throwIfAborted()
    announcing.catch((error) => this.emit('error', error))
  }

  /** @throws TrackerError 404 `peer_not_found` for a peer that is offline or unknown */
  lookup(email: string): Promise<Broadcast> {
    return this.#call((signal) => this.#tracker.lookup({ email }, signal))
  }

  /** This peer's own broadcast, whichever process announced it. */
  own(): Promise<Broadcast> {
    return this.#call((signal) => this.#tracker.own(signal))
  }

  /** Everyone online but this peer, by e-mail address. */
  async list(): Promise<Broadcast[]> {
    return byEmail(await this.#call((signal) => this.#tracker.list(signal)))
  }

  /** Who is online, live, until the signal, `close`, or the end of the loop. Reconnects by itself. */
  async *watch({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<Change, void> {
    const end = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])])
    let isConnected = false
    let failures = 0
    let wait = 0
    while (!end.aborted) {
      const before = this.credentials.fingerprint
      try {
        for await (const { name, data, retry } of this.#tracker.events(end)) {
          isConnected = true
          failures = 0
          wait = retry ?? backoff(1)
          const change = toChange(name, JSON.parse(data))
          if (change) yield change
        }
      } catch (error) {
        if (end.aborted) return
        const isRecovered = isCertificateUnknown(error) && (await this.#recover(before))
        const isPassing = isConnected && error instanceof TrackerError && error.isTemporary
        if (!isRecovered && !isPassing) throw error
        wait = backoff(++failures, error)
      }
      await pause(wait, end)
    }
  }

  /**
   * Opens a TLS connection on which both have proved their certificates; the peer's is the one that the tracker names. A peer that
   * refuses this one, for example because it is offline, closes the connection at once.
   *
   * @throws TrackerError 404 `peer_not_found`; PeerError `peer_unreachable`, or `impostor` if somebody else answers there
   */
  async connect(email: string, { signal }: { signal?: AbortSignal } = {}): Promise<TLSSocket> {
    const end = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])])
    const attempt = async () => connectToPeer(await this.lookup(email), this.#identity.refresh(), end)
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof PeerError) || error.code !== 'impostor') throw error
      await pause(ROTATION_PAUSE, end)
      return await attempt()
    }
  }

  /** Replaces key and certificate without interrupting anything. */
  async rotate(): Promise<Credentials> {
    return this.#call((signal) => rotate(this.#identity, this.#tracker, signal))
  }

  /** Takes this peer offline, whichever process announced it. */
  async withdraw(): Promise<void> {
    await this.#call((signal) => this.#tracker.withdraw(signal))
  }

  /** Unregisters this peer, and deletes its identity from this machine. */
  async forget(): Promise<void> {
    // The tracker refuses an expired certificate, and has freed its e-mail address.
    if (this.credentials.notAfter.getTime() > Date.now()) {
      await this.#call((signal) => this.#tracker.unregister(signal)).catch((error) => {
        // It is gone already, or blocked until an administrator deletes it.
        if (!isCertificateUnknown(error) && error.code !== 'certificate_revoked') throw error
      })
    }
    this.#identity.remove()
  }

  /** Deletes the identity from this machine, without telling the tracker. */
  discard() {
    this.#identity.remove()
  }

  /** Stops listening, announcing (and tells the tracker, if it can) and watching, and ends every accepted connection. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new Error('this peer was closed'))
    await this.#listener?.close()
    if (this.#announcing) {
      await this.#announcing
      this.#identity.refresh()
      await this.#tracker.withdraw(AbortSignal.timeout(WITHDRAW_TIMEOUT)).catch(() => {}) // it will expire
    }
    this.#tracker.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Makes a call, and repeats it if the certificate has been replaced in between. */
  async #call<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (;;) {
      const { fingerprint } = this.credentials
      try {
        return await call(this.#closing.signal)
      } catch (error) {
        if (!isCertificateUnknown(error) || !(await this.#recover(fingerprint))) throw error
      }
    }
  }

  #recover(unknown: string): Promise<boolean> {
    return recover(this.#identity, this.#tracker, unknown, this.#closing.signal)
  }

  async #announce(announcement: Parameters<Tracker['announce']>[0]): Promise<number> {
    this.#identity.refresh()
    const announce = () => this.#call((signal) => this.#tracker.announce(announcement, signal))
    const { reannounceAfter, ...online } = await announce().catch(async (error) => {
      if (!isCertificateUnknown(error)) throw error
      await this.register() // the tracker has lost it
      return announce()
    })
    this.emit('announced', online)
    if (isRotationDue(this.credentials)) {
      await this.rotate().catch((error) => this.emit('retrying', error, reannounceAfter * 1000))
    }
    return reannounceAfter
  }
}

function originOf(tracker: string) {
  const url = URL.parse(tracker)
  if (url?.protocol !== 'https:')
    throw new PeerError('invalid_tracker', `${tracker} is not a URL that begins with https://`)
  return url.origin
}

function byEmail(peers: Broadcast[]) {
  return peers.sort((a, b) => (a.email < b.email ? -1 : 1))
}

function toChange(name: string, data: unknown): Change | undefined {
  if (name === 'list') return { type: 'list', peers: byEmail(data as Broadcast[]) }
  if (name === 'online') return { type: 'online', peer: data as Broadcast }
  if (name === 'offline') return { type: 'offline', email: (data as { email: string }).email }
  return undefined // of a newer tracker
}
