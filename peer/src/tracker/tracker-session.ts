import { isCertificateUnknown, isWrongClock, PeerError, TrackerError } from '../errors.ts'
import type { Credentials, Identity } from '../identity/identity.ts'
import type { EventLine } from './event-source.ts'
import { isRotationDue, recover, rotate } from './rotation.ts'
import { type Announcement, createTracker, type Tracker } from './tracker.ts'

/** The system's codes for a request that did not reach the tracker. */
const NOT_SENT = ['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EPROTO', 'ERR_PROXY_TUNNEL']
/** The tracker's codes for a registration that is gone, has expired, or is blocked until an administrator deletes it. */
const GONE = ['certificate_unknown', 'certificate_expired', 'certificate_revoked']

/** An identity's calls to its tracker, even if its certificate is replaced in between. All throw a TrackerError, or the signal's reason. */
export class TrackerSession {
  readonly #identity: Identity
  readonly #tracker: Tracker
  readonly #closing = new AbortController()

  constructor(identity: Identity) {
    const { tracker: url, ca } = identity.settings
    this.#identity = identity
    this.#tracker = createTracker({ url, ca, credentials: () => identity.credentials })
  }

  /** Ends with `close`, or with the caller's signal. */
  until(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([this.#closing.signal, signal]) : this.#closing.signal
  }

  /** Makes a call, and repeats it if the certificate was replaced in between. */
  async call<T>(act: (tracker: Tracker, signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const end = this.until(signal)
    for (;;) {
      end.throwIfAborted()
      const { fingerprint } = this.#identity.credentials
      try {
        return await act(this.#tracker, end)
      } catch (error) {
        if (!isCertificateUnknown(error) || !(await this.#recover(fingerprint, end))) throw error
      }
    }
  }

  /** Who is online, live. */
  async *events(signal: AbortSignal): AsyncGenerator<EventLine, void> {
    for (;;) {
      const { fingerprint } = this.#identity.credentials
      try {
        return yield* this.#tracker.events(signal)
      } catch (error) {
        if (!isCertificateUnknown(error) || !(await this.#recover(fingerprint, signal))) throw error
      }
    }
  }

  /** Registers the identity. Safe to repeat. @returns whether somebody has to open the link that the tracker sent to the e-mail address */
  async register(signal?: AbortSignal): Promise<{ isEmailPending: boolean }> {
    const end = this.until(signal)
    end.throwIfAborted()
    const isNew = this.#identity.claim()
    try {
      return await this.#register(isNew, end)
    } catch (error) {
      if (isNew && isRefused(error)) this.#identity.unclaim()
      throw error
    }
  }

  async #register(isNew: boolean, signal: AbortSignal): Promise<{ isEmailPending: boolean }> {
    const { credentials, settings } = this.#identity
    try {
      const { email_verification } = await this.#tracker.register(settings.email, credentials, signal)
      return { isEmailPending: email_verification === 'pending' }
    } catch (error) {
      if (!(error instanceof TrackerError)) throw error
      if (error.code === 'already_registered') return { isEmailPending: false }
      if (!isNew || !isWrongClock(error)) throw error
      await this.#identity.recreate(this.#tracker.now())
      return this.#register(false, signal)
    }
  }

  /** Announces. Registers first if the tracker does not know the identity, and replaces the certificate when it is due. */
  async announce(announcement: Announcement, onRotationFailed: (error: Error) => void, signal: AbortSignal) {
    this.#identity.refresh()
    const announce = () => this.call((tracker, signal) => tracker.announce(announcement, signal), signal)
    const announced = await announce().catch(async (error) => {
      if (!isCertificateUnknown(error)) throw error
      await this.register(signal)
      return announce()
    })
    if (isRotationDue(this.#identity.credentials, this.#tracker.now())) {
      await this.rotate(signal).catch(onRotationFailed) // the next announcement tries again
    }
    return announced
  }

  /** Replaces key and certificate. */
  rotate(signal?: AbortSignal): Promise<Credentials> {
    return this.call((tracker, signal) => rotate(this.#identity, tracker, signal), signal)
  }

  /** Unregisters the identity. */
  async unregister(signal?: AbortSignal): Promise<void> {
    await this.call((tracker, signal) => tracker.unregister(signal), signal).catch((error) => {
      if (!GONE.includes(error.code)) throw error
    })
  }

  /** Withdraws the announcement even after `end`, with the current certificate, which another process may have replaced. */
  async withdrawLast(timeout: number): Promise<void> {
    this.#identity.refresh()
    await this.#tracker.withdraw(AbortSignal.timeout(timeout)).catch(() => {}) // it will expire
  }

  setCa(ca: string | undefined) {
    this.#tracker.setCa(ca)
  }

  /** Ends all calls. */
  end() {
    this.#closing.abort(new PeerError('closed', 'this peer was closed'))
  }

  /** Ends all connections. */
  close() {
    this.#tracker.close()
  }

  #recover(unknown: string, signal: AbortSignal): Promise<boolean> {
    return recover(this.#identity, this.#tracker, unknown, signal)
  }
}

/** Whether it is certain that the tracker has not registered the identity. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof TrackerError)) return false
  const { code, status, cause } = error
  const isAnswered = status > 0 && status < 500 && ![408, 429].includes(status)
  return isAnswered || code === 'tracker_untrusted' || NOT_SENT.includes(String((cause as NodeJS.ErrnoException)?.code))
}
