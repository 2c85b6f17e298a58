import * as check from '../arguments.ts'
import { holdRunningLock } from '../identity/running-lock.ts'
import type { TrackerSession } from '../tracker/tracker-session.ts'
import { type Announced, Announcement, type PeerState, withdrawn } from './announcement.ts'
import { listenAddresses } from './listen-addresses.ts'
import { Suspension, settled } from './suspension.ts'

export interface AnnounceOptions {
  /** The port on which this peer listens. */
  port: number
  /** The IP address on which it listens; by default all of the machine's. */
  host?: string | undefined
  /** The addresses to announce instead of the machine's; a function is called again every 10 s. */
  addresses?: string[] | (() => string[]) | undefined
  /** Whether to announce also the address at which the tracker sees this machine; by default true. */
  observed?: boolean | undefined
  /** A JSON object of at most 4096 bytes. */
  capabilities?: Record<string, unknown> | undefined
  /** Seconds to stay online without another announcement; by default the tracker decides. */
  ttl?: number | undefined
  /** Ends the announcement if the peer is not online yet. Afterwards, use `withdraw`. */
  signal?: AbortSignal | undefined
}

export type UpdateOptions = Partial<Pick<AnnounceOptions, 'port' | 'addresses' | 'capabilities' | 'ttl' | 'signal'>>

/** Milliseconds for a call that withdraws. */
const WITHDRAW_TIMEOUT = 5000

/** Whether others find this peer: at most one announcement at a time, of one process for an identity. */
export class Presence {
  readonly suspension = new Suspension()
  readonly #dir: string
  readonly #session: TrackerSession
  readonly #options: {
    onState: (state: PeerState) => void
    onStopAsked: () => void
    onRotationFailed: (error: Error) => void
  }
  #state: PeerState = { name: 'stopped' }
  #announcement: Announcement | undefined
  #turn = 0
  /** Calls of `announce` that have not begun to announce. */
  #beginning = 0
  /**
   * What was last sent to the tracker. The next call waits for it, and no call is cancelled: the tracker could serve both at the same time,
   * in either order.
   */
  #announcing: Promise<unknown> = Promise.resolve()
  #withdrawing: Promise<unknown> = Promise.resolve()
  #lock: Promise<() => Promise<void>> | undefined

  /** @param options.onStopAsked called when another process asks this one to end */
  constructor(
    dir: string,
    session: TrackerSession,
    options: { onState: (state: PeerState) => void; onStopAsked: () => void; onRotationFailed: (error: Error) => void }
  ) {
    this.#dir = dir
    this.#session = session
    this.#options = options
  }

  get state(): PeerState {
    return this.#state
  }

  /** Announces in place of an earlier announcement, and waits until the peer is online. */
  async announce(options: AnnounceOptions): Promise<void> {
    check.checkOptions(options, ['port', 'host', 'addresses', 'observed', 'capabilities', 'ttl', 'signal'])
    const { observed = true } = options
    check.checkBoolean('observed', observed)
    const host = check.checkHost(options.host)
    const signal = this.#session.until(check.checkSignal(options.signal))
    const wanted = {
      addresses: () => listenAddresses(host, { observed }),
      ...toAnnounced(options),
      port: check.checkPort(options.port)
    }
    signal.throwIfAborted()
    await this.#untilOnline(await this.#begin(wanted, signal), signal)
  }

  /** Changes the announcement, and waits until the tracker has the changes. If it refuses them, the announcement stays as it was. */
  async update(changes: UpdateOptions): Promise<void> {
    check.checkOptions(changes, ['port', 'addresses', 'capabilities', 'ttl', 'signal'])
    const signal = this.#session.until(check.checkSignal(changes.signal))
    const announced = toAnnounced(changes)
    if (!this.#announcement) throw check.invalid('there is no announcement to update')
    this.#announcement.change(announced)
    await this.#untilOnline(this.#announcement, signal)
  }

  /** Ends the announcement, here and at the tracker, whichever process announced it. */
  async withdraw(signal?: AbortSignal): Promise<void> {
    this.#turn++
    this.#stop()
    const withdrawing = this.#withdraw(signal)
    this.#withdrawing = Promise.allSettled([this.#withdrawing, withdrawing])
    try {
      await withdrawing
    } finally {
      await this.#releaseIfIdle()
    }
  }

  /** Pauses the announcement and all watching; others no longer find this peer. */
  async suspend(): Promise<void> {
    if (this.suspension.signal.aborted) return
    this.suspension.suspend()
    if (this.#announcement) await this.#withdrawLast()
  }

  /** Continues what `suspend` paused. */
  resume(): void {
    if (this.suspension.signal.aborted) this.suspension.resume()
  }

  /** Announces at once, and restarts all watching. */
  wake(): void {
    if (this.suspension.signal.aborted) return
    this.suspension.suspend()
    this.suspension.resume()
    this.#announcement?.wake()
  }

  /** Ends the announcement, and tells the tracker if it can. @param reason if the application did not ask for it */
  async close(reason?: Error): Promise<void> {
    this.#giveUp(reason)
    await this.#releaseIfIdle()
  }

  /** Of several calls at once, the last one counts. */
  async #begin(wanted: Announced, signal: AbortSignal): Promise<Announcement> {
    const turn = ++this.#turn
    this.#beginning++
    try {
      await this.#hold()
      signal.throwIfAborted()
      if (turn !== this.#turn) throw withdrawn()
      return this.#start(wanted)
    } finally {
      this.#beginning--
      this.#releaseIfIdle()
    }
  }

  #start(wanted: Announced): Announcement {
    const replaced = this.#announcement
    const announcement = new Announcement(wanted, {
      announce: async (body, signal) => {
        await Promise.all([this.#announcing, this.#withdrawing])
        signal.throwIfAborted()
        const closed = this.#session.until(undefined)
        const announcing = this.#session.announce(body, this.#options.onRotationFailed, closed)
        this.#announcing = announcing.catch(() => {})
        return announcing
      },
      suspension: this.suspension,
      onState: (state) => this.#setState(state, announcement)
    })
    this.#announcement = announcement
    replaced?.stop()
    announcement.run()
    return announcement
  }

  #stop() {
    this.#announcement?.stop()
  }

  async #untilOnline(announcement: Announcement, signal: AbortSignal) {
    try {
      await announcement.online(signal)
    } catch (error) {
      if (signal.aborted && !announcement.wasOnline && announcement === this.#announcement) this.#giveUp()
      throw error
    }
  }

  #setState(state: PeerState, announcement: Announcement) {
    if (this.#announcement !== announcement) return // it was replaced
    if (this.#announcement?.isStopped) this.#announcement = undefined
    if (state.name === 'stopped' && state.reason) this.#withdrawLast()
    this.#state = state
    this.#options.onState(state)
  }

  /** Ends the announcement without waiting for the tracker, which may have this or an earlier one. */
  #giveUp(reason?: Error) {
    if (!this.#announcement) return
    this.#announcement.stop(reason)
    if (!reason) this.#withdrawLast()
  }

  async #withdraw(signal: AbortSignal | undefined) {
    await settled(this.#announcing, this.#session.until(signal))
    await this.#session.call((tracker, signal) => tracker.withdraw(signal), signal)
  }

  async #withdrawLast() {
    const withdrawing = this.#announcing.then(() => this.#session.withdrawLast(WITHDRAW_TIMEOUT))
    this.#withdrawing = Promise.all([this.#withdrawing, withdrawing])
    await withdrawing
    await this.#releaseIfIdle()
  }

  /** Several calls share a lock. */
  async #hold() {
    this.#lock ??= holdRunningLock(this.#dir, this.#options.onStopAsked)
    const held = this.#lock
    await held.catch((error) => {
      if (this.#lock === held) this.#lock = undefined
      throw error
    })
  }

  /** The lock is held until the tracker has been told, so that this does not withdraw what another process announces. */
  async #releaseIfIdle() {
    const withdrawing = this.#withdrawing
    await withdrawing
    if (this.#announcement || this.#beginning > 0 || withdrawing !== this.#withdrawing) return
    const lock = this.#lock
    this.#lock = undefined
    const release = await lock?.catch(() => undefined)
    await release?.()
  }
}

/** The options that may change. */
function toAnnounced({ port, addresses, capabilities, ttl }: UpdateOptions): Partial<Announced> {
  return {
    ...(port !== undefined && { port: check.checkPort(port) }),
    ...(addresses !== undefined && { addresses: toFunction(addresses) }),
    ...(capabilities !== undefined && { capabilities: check.checkCapabilities(capabilities) }),
    ...(ttl !== undefined && { ttl: check.checkTtl(ttl) })
  }
}

function toFunction(addresses: string[] | (() => string[])) {
  if (typeof addresses === 'function') return addresses
  const list = [...check.checkAddresses(addresses)]
  return () => list
}
