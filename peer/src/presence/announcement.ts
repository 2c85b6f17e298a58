import { checkAddresses } from '../arguments.ts'
import { PeerError, type TrackerError } from '../errors.ts'
import { backoff, pause } from '../tracker/backoff.ts'
import type { Announcement as Body } from '../tracker/tracker.ts'
import type { Suspension } from './suspension.ts'

/** Whether others can find this peer. */
export type PeerState =
  /** It is not announced. `reason` says why, and is missing if the application asked for it. */
  | { name: 'stopped'; reason?: Error }
  /** The first attempt is in progress. */
  | { name: 'starting' }
  /** Others can find it until `until`; it will be announced again before then. */
  | { name: 'online'; until: Date; observedAddress: string | null }
  /** The last attempt failed. If the peer was online before, others can find it until that announcement expires. */
  | { name: 'retrying'; reason: Error; nextAttempt: Date }
  /** Whatever answers cannot prove that it is the tracker: a wrong `ca`, a wrong clock, a network that wants a login, or an attack. */
  | { name: 'untrusted'; reason: Error; nextAttempt: Date }

/** What is announced. */
export interface Announced {
  port: number
  addresses: () => string[]
  capabilities?: Record<string, unknown> | undefined
  ttl?: number | undefined
}

/** What the tracker answers. All times are in seconds. */
interface Online {
  expires_in: number
  observed_address: string | null
  /** Until the next announcement. */
  reannounceAfter: number
}

interface Options {
  announce: (body: Body, signal: AbortSignal) => Promise<Online>
  onState: (state: PeerState) => void
  /** Nothing is announced as long as it lasts. */
  suspension: Suspension
  /** Milliseconds between two checks of the addresses and the clock. */
  look?: number
}

/** Somebody who waits until the tracker has what was last asked for. */
interface Waiter {
  resolve: () => void
  reject: (error: Error) => void
}

const LOOK = 10_000
/** The tracker's verdict on an address that may be another one in a minute. */
const MAY_CHANGE = [400]

/**
 * Keeps a peer announced until `stop`: again when the tracker asks for it, at once when the addresses change or the machine was asleep,
 * and after a pause when an announcement failed.
 */
export class Announcement {
  readonly #options: Options
  readonly #suspension: Suspension
  readonly #stopped = new AbortController()
  #wanted: Announced
  /** What the tracker has accepted. */
  #confirmed: Announced | undefined
  #waiters: Waiter[] = []
  #changed = new AbortController()
  #failures = 0

  constructor(wanted: Announced, options: Options) {
    this.#wanted = wanted
    this.#options = options
    this.#suspension = options.suspension
  }

  /** What is announced, or will be. */
  get wanted(): Announced {
    return this.#wanted
  }

  get isStopped(): boolean {
    return this.#stopped.signal.aborted
  }

  get wasOnline(): boolean {
    return this.#confirmed !== undefined
  }

  /**
   * Waits until the peer is online with what was last asked for.
   *
   * @throws the tracker's verdict: a change that it refuses is undone, and without an earlier one nothing is announced. If what answers
   *   is not trusted, the announcement goes on trying.
   */
  async online(signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter = { resolve, reject }
    this.#waiters.push(waiter)
    const onAbort = () => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    try {
      signal?.throwIfAborted()
      this.#stopped.signal.throwIfAborted()
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#waiters = this.#waiters.filter((other) => other !== waiter)
    }
  }

  /** Announces something else from now on. */
  change(changes: Partial<Announced>): void {
    this.#wanted = { ...this.#wanted, ...changes }
    this.wake()
  }

  /** Announces at once. */
  wake(): void {
    this.#failures = 0
    this.#changed.abort()
  }

  /** Ends it here; the tracker is not told. @param reason if nobody asked for it */
  stop(reason?: Error): void {
    if (this.#stopped.signal.aborted) return
    const why = reason ?? withdrawn()
    this.#stopped.abort(why)
    this.#settle(({ reject }) => reject(why))
    this.#options.onState({ name: 'stopped', ...(reason && { reason }) })
  }

  async run(): Promise<void> {
    const { signal } = this.#stopped
    this.#options.onState({ name: 'starting' })
    while (!signal.aborted) {
      const pausing = this.#suspension.signal
      if (pausing.aborted) await this.#pause()
      if (pausing.aborted) continue
      this.#changed = new AbortController()
      const wanted = this.#wanted
      let addresses: string[] | undefined
      const attempt = async () => {
        addresses = checkAddresses(wanted.addresses())
        return this.#options.announce(body(wanted, addresses), AbortSignal.any([signal, pausing]))
      }
      const [outcome] = await Promise.allSettled([attempt()])
      if (signal.aborted) return
      if (pausing.aborted) continue
      const isOnline = outcome.status === 'fulfilled'
      const wait = isOnline ? this.#succeed(wanted, outcome.value) : this.#fail(outcome.reason, wanted)
      if (wait === undefined) return
      await this.#sleep(wait, addresses)
    }
  }

  async #pause() {
    const { signal } = this.#stopped
    this.#options.onState({ name: 'stopped' })
    await this.#suspension.over(signal)
    this.#failures = 0
    if (!signal.aborted) this.#options.onState({ name: 'starting' })
  }

  /** @returns milliseconds until the next announcement */
  #succeed(wanted: Announced, { expires_in, observed_address, reannounceAfter }: Online): number {
    this.#failures = 0
    this.#confirmed = wanted
    const until = new Date(Date.now() + expires_in * 1000)
    this.#options.onState({ name: 'online', until, observedAddress: observed_address })
    if (wanted === this.#wanted) this.#settle(({ resolve }) => resolve())
    return reannounceAfter * 1000
  }

  /** @returns milliseconds until the next attempt; undefined if there is none */
  #fail(reason: Error, wanted: Announced): number | undefined {
    const { status, isTemporary, code } = reason as Partial<TrackerError>
    const isUntrusted = code === 'tracker_untrusted'
    const isRefused = !isTemporary && !isUntrusted
    if (isRefused || isUntrusted) this.#settle(({ reject }) => reject(reason))
    if (isRefused && this.#confirmed && this.#confirmed !== wanted) {
      this.#wanted = this.#confirmed
      return 0
    }
    if (isRefused && !(this.#confirmed && (!status || MAY_CHANGE.includes(status)))) {
      this.stop(reason)
      return undefined
    }
    const delay = backoff(++this.#failures, reason)
    const nextAttempt = new Date(Date.now() + delay)
    this.#options.onState({ name: isUntrusted ? 'untrusted' : 'retrying', reason, nextAttempt })
    return delay
  }

  /** Until the time has come by any clock, because timers stand still while a machine sleeps; or until something has changed. */
  async #sleep(milliseconds: number, addresses: string[] | undefined) {
    const { look = LOOK } = this.#options
    const end = AbortSignal.any([this.#stopped.signal, this.#changed.signal, this.#suspension.signal])
    const [now, monotonic] = [Date.now(), performance.now()]
    while (!end.aborted) {
      const left = milliseconds - Math.max(Date.now() - now, performance.now() - monotonic)
      if (left <= 0) return
      await pause(Math.min(left, look), end, { ref: false })
      if (addresses && String(this.#current()) !== String(addresses)) return
    }
  }

  #current(): string[] | undefined {
    try {
      return this.#wanted.addresses()
    } catch {
      return undefined // the next announcement reports it
    }
  }

  #settle(act: (waiter: Waiter) => void) {
    for (const waiter of this.#waiters.splice(0)) act(waiter)
  }
}

export function withdrawn() {
  return new PeerError('withdrawn', 'the announcement was withdrawn or replaced')
}

function body({ port, capabilities, ttl }: Announced, addresses: string[]): Body {
  return { port, addresses, ...(capabilities && { capabilities }), ...(ttl !== undefined && { ttl }) }
}
