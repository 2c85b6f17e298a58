import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import * as check from './arguments.ts'
import { Connections } from './connections/connections.ts'
import { type KnownPeer, KnownPeers } from './connections/known-peers.ts'
import { PeerError } from './errors.ts'
import { type Credentials, Identity } from './identity/identity.ts'
import type { CallOptions, Events, ListenOptions, Logger, OpenOptions, PeerTlsOptions } from './peer-options.ts'
import type { PeerState } from './presence/announcement.ts'
import { type AnnounceOptions, Presence, type UpdateOptions } from './presence/presence.ts'
import { byEmail, type Change, watchPeers } from './presence/watcher.ts'
import type { Broadcast } from './tracker/tracker.ts'
import { TrackerSession } from './tracker/tracker-session.ts'

/** Milliseconds for `connect`, from the lookup until the peer accepts. */
const CONNECT_TIMEOUT = 30_000

/**
 * A peer: its identity, its registration at the tracker, and its connections to other peers.
 *
 * Calls throw a PeerError, a TrackerError, or the reason of their signal. A wrong argument is `invalid_argument`. After `close`, all calls
 * throw `closed`.
 */
export class RelayPeer extends EventEmitter<Events> {
  readonly #identity: Identity
  readonly #session: TrackerSession
  readonly #knownPeers: KnownPeers
  readonly #connections: Connections
  readonly #presence: Presence
  readonly #logger: Logger | undefined
  #closing: Promise<void> | undefined

  private constructor(identity: Identity, logger: Logger | undefined) {
    super()
    this.#identity = identity
    this.#logger = logger
    identity.onChange = (credentials) => {
      this.#connections.renew()
      this.#tell('rotated', credentials)
    }
    this.#session = new TrackerSession(identity)
    this.#knownPeers = new KnownPeers(identity.dir, (message) => logger?.warn(message))
    this.#connections = new Connections(identity, this.#session, this.#knownPeers, {
      isWanted: () => this.listenerCount('connection') > 0,
      connection: (socket, caller) => this.#tell('connection', socket, caller),
      refused: (reason, address) => this.#tell('refused', reason, address)
    })
    this.#presence = new Presence(identity.dir, this.#session, {
      onState: (state) => this.#tell('state', state),
      onStopAsked: () => this.#endBy(new PeerError('closed', 'another process has ended this peer')),
      onRotationFailed: ({ message }) =>
        logger?.warn(`the certificate was not replaced, trying again later: ${message}`)
    })
  }

  /**
   * Loads the identity in a folder. With `tracker` and `email`, creates one if there is none, and replaces one for another tracker or
   * address if it was never registered.
   *
   * @throws PeerError `no_identity`, `other_identity`, `identity_damaged`, `identity_unreadable`, `identity_not_saved`
   */
  static async open(options: OpenOptions): Promise<RelayPeer> {
    check.checkOptions(options, ['dir', 'tracker', 'email', 'ca', 'logger'])
    const { tracker, email, logger } = options
    const dir = check.checkDir(options.dir)
    check.checkLogger(logger)
    const ca = check.checkCa(options.ca)
    if (tracker === undefined || email === undefined) {
      if (tracker !== undefined || email !== undefined)
        throw check.invalid('tracker and email go together: one of them is missing')
      const identity = Identity.load(dir)
      if (ca !== undefined) identity.save({ ca })
      return new RelayPeer(identity, logger)
    }
    const settings = { tracker: check.checkTracker(tracker), email: check.checkEmail(email), ca }
    const identity = await Identity.open(dir, settings)
    if (ca !== undefined && ca !== identity.settings.ca) identity.save({ ca })
    return new RelayPeer(identity, logger)
  }

  /** Whether this folder has an identity. */
  static exists(dir: string): boolean {
    return Identity.exists(check.checkDir(dir))
  }

  /** Deletes the identity in a folder, even a damaged one, without telling the tracker. */
  static discard(dir: string): void {
    Identity.remove(check.checkDir(dir))
  }

  get email(): string {
    return this.#identity.settings.email
  }

  /** The tracker's URL. */
  get tracker(): string {
    return this.#identity.settings.tracker
  }

  /** The key and certificate, for a program with a server of its own. They change: see `rotated`. */
  get credentials(): Credentials {
    return this.#identity.credentials
  }

  /** Whether others can find this peer and, if not, why. */
  get state(): PeerState {
    return this.#presence.state
  }

  /** False while it is certain that the tracker has not registered this identity. */
  get isRegistered(): boolean {
    return this.#identity.isRegistered
  }

  /** The peers that this one has connected with, or was told to trust. */
  get knownPeers(): KnownPeer[] {
    return this.#knownPeers.list()
  }

  /** Changes the authority that signs the tracker's certificate (PEM; undefined for the public ones), and tries again at once. */
  setCa(ca: string | undefined): void {
    this.#identity.save({ ca: check.checkCa(ca) })
    this.#session.setCa(ca)
    this.#presence.wake()
  }

  /**
   * Registers at the tracker. Safe to repeat. `announce` does this too if necessary.
   *
   * @returns whether somebody has to open the link that the tracker sent to the e-mail address
   */
  async register(options: CallOptions = {}): Promise<{ isEmailPending: boolean }> {
    return this.#session.register(check.checkCallOptions(options))
  }

  /**
   * Listens for other peers, and emits `connection` for each one that it accepts: everyone who is online or, while the tracker is away,
   * known. Replaces an earlier `listen`, and ends its connections.
   *
   * @returns the port
   * @throws Node.js's error if it cannot listen there, such as `EADDRINUSE`
   */
  async listen(options: ListenOptions = {}): Promise<number> {
    check.checkOptions(options, ['port', 'host', 'accept'])
    const { port, host, accept } = options
    if (port !== undefined) check.checkPort(port, 0)
    check.checkHost(host)
    check.checkFunction('accept', accept)
    this.#session.until(undefined).throwIfAborted()
    return this.#connections.listen({ port, host, accept })
  }

  /**
   * Announces this peer until `withdraw` or `close`, and replaces an earlier announcement. Registers it and replaces its certificate when
   * necessary. Resolves when the peer is online for the first time, however long the tracker is away: see `state`.
   *
   * @throws as soon as waiting does not help; after `tracker_untrusted` it keeps trying all the same. PeerError `already_running` if
   *   another process announces this identity
   */
  async announce(options: AnnounceOptions): Promise<void> {
    await this.#presence.announce(options)
  }

  /**
   * Changes part of the announcement, and waits until the tracker has accepted the change.
   *
   * @throws the tracker's error if it refuses the change; the announcement then stays as it was
   */
  async update(changes: UpdateOptions): Promise<void> {
    await this.#presence.update(changes)
  }

  /** Takes this peer offline, whichever process announced it. This process stops announcing it even if the tracker is away. */
  async withdraw(options: CallOptions = {}): Promise<void> {
    await this.#presence.withdraw(check.checkCallOptions(options))
  }

  /** Pauses announcing and watching, such as before sleep: others no longer find this peer. Connections stay open. */
  async suspend(): Promise<void> {
    await this.#presence.suspend()
  }

  /** Continues what `suspend` paused. */
  async resume(): Promise<void> {
    this.#presence.resume()
  }

  /**
   * Finds a peer by its e-mail address or fingerprint.
   *
   * @throws TrackerError 404 `peer_not_found` for a peer that is offline or unknown
   */
  async lookup(
    peer: string | { email: string } | { fingerprint: string },
    options: CallOptions = {}
  ): Promise<Broadcast> {
    const by = check.checkPeer(peer)
    return this.#session.call((tracker, signal) => tracker.lookup(by, signal), check.checkCallOptions(options))
  }

  /** This peer's own broadcast, whichever process announced it. */
  async own(options: CallOptions = {}): Promise<Broadcast> {
    return this.#session.call((tracker, signal) => tracker.own(signal), check.checkCallOptions(options))
  }

  /** Everyone online but this peer, by e-mail address. */
  async list(options: CallOptions = {}): Promise<Broadcast[]> {
    return byEmail(await this.#session.call((tracker, signal) => tracker.list(signal), check.checkCallOptions(options)))
  }

  /**
   * Reports who goes online and offline, until the signal, `close`, or the end of the loop. Works without a tracker, and waits for it.
   *
   * @param options.only the e-mail addresses of the peers to report; by default all
   * @throws an error that waiting does not fix, such as TrackerError `certificate_revoked`
   */
  async *watch(options: { only?: string[] } & CallOptions = {}): AsyncGenerator<Change, void> {
    const { only, signal } = check.checkOptions(options, ['only', 'signal'])
    yield* watchPeers({
      events: (signal) => this.#session.events(signal),
      only: check.checkEmails(only),
      suspension: this.#presence.suspension,
      signal: this.#session.until(check.checkSignal(signal))
    })
  }

  /**
   * Opens a TLS connection to a peer, and waits until it accepts. Both have then proved their certificates; the peer's is the one that the
   * tracker names or, while the tracker is away, the one that is known. Pass a broadcast to connect without asking the tracker.
   *
   * @param options.timeout milliseconds; 30,000 by default
   * @throws TrackerError 404 `peer_not_found`; PeerError `refused`, `peer_unreachable`, `impostor`, `own_identity`, `fingerprint_changed`
   */
  async connect(to: string | Broadcast, options: { timeout?: number } & CallOptions = {}): Promise<TLSSocket> {
    const { timeout = CONNECT_TIMEOUT, signal } = check.checkOptions(options, ['timeout', 'signal'])
    const target = typeof to === 'string' ? check.checkEmail(to) : check.checkBroadcast(to)
    const end = this.#session.until(check.checkSignal(signal))
    const limit = new AbortController()
    // Unlike that of AbortSignal.timeout, it can be cleared: Deno waits for it before it exits.
    const timer = setTimeout(() => limit.abort(), check.checkTimeout(timeout))
    const until = { signal: end, limit: limit.signal }
    const connecting = this.#connections.connect(target, until).finally(() => clearTimeout(timer))
    try {
      return await connecting
    } catch (error) {
      end.throwIfAborted()
      if (!limit.signal.aborted || error instanceof PeerError) throw error
      const message = `the tracker did not say within ${timeout / 1000} s where ${to} is`
      throw new PeerError('peer_unreachable', message, { email: String(target), cause: error })
    }
  }

  /** Accepts a known peer's new certificate, such as after `fingerprint_changed` once its owner has confirmed the fingerprint. */
  trust(email: string, fingerprint: string): void {
    this.#knownPeers.trust(check.checkEmail(email), check.checkFingerprint(fingerprint))
  }

  /** Forgets a known peer. @returns whether it was known */
  forgetPeer(email: string): boolean {
    return this.#knownPeers.forget(check.checkEmail(email))
  }

  /**
   * Options for an application's own TLS, https or ws server, or for its client. They accept every certificate, so the application has to
   * look up whose it is, with `lookup({ fingerprint: peerFingerprint(socket) })`, before it reads anything. Call it again after `rotated`.
   */
  tlsOptions(): PeerTlsOptions {
    const { certificate: cert, privateKey: key } = this.#identity.refresh()
    return { cert, key, minVersion: 'TLSv1.2', requestCert: true, rejectUnauthorized: false }
  }

  /** Replaces key and certificate without interrupting anything. The old key signs the new certificate, for peers that know this one. */
  async rotate(options: CallOptions = {}): Promise<Credentials> {
    return this.#session.rotate(check.checkCallOptions(options))
  }

  /** Goes offline, unregisters this peer, closes it, and deletes its identity from this machine. */
  async forget(options: CallOptions = {}): Promise<void> {
    const signal = check.checkCallOptions(options)
    await this.#presence.close() // an announcement would register it again
    await this.#session.unregister(signal)
    await this.close()
    Identity.remove(this.#identity.dir)
  }

  /** Stops listening, announcing and watching, tells the tracker if it can, and ends all connections with other peers. */
  close(): Promise<void> {
    return this.#endBy(undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @param reason undefined if the application asked for it */
  #endBy(reason: Error | undefined): Promise<void> {
    this.#closing ??= this.#close(reason)
    return this.#closing
  }

  async #close(reason: Error | undefined) {
    this.#session.end()
    await this.#connections.close()
    await this.#presence.close(reason)
    this.#session.close()
  }

  /** An exception of a listener is the application's own, and breaks nothing here. */
  #tell<E extends keyof Events>(event: E, ...args: Events[E]) {
    this.#logger?.info(describe(event, args[0]))
    process.nextTick(() => this.emit<E>(event, ...(args as never)))
  }
}

/** Without e-mail addresses, which messages may contain. */
function describe(event: keyof Events, subject: object): string {
  const { name, reason = subject } = subject as Partial<PeerState> & { reason?: object }
  const { code } = reason as { code?: string }
  return [event, name, code].filter(Boolean).join(': ')
}
