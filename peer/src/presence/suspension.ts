import { PeerError } from '../errors.ts'

/** Whether a peer is paused, such as while its machine sleeps. */
export class Suspension {
  #pausing = new AbortController()
  #resumed = Promise.withResolvers<void>()

  constructor() {
    this.#resumed.resolve()
  }

  /** Aborted by the next `suspend`; aborted already while the peer pauses. */
  get signal(): AbortSignal {
    return this.#pausing.signal
  }

  /** Not while it pauses. */
  suspend() {
    this.#resumed = Promise.withResolvers()
    this.#pausing.abort(new PeerError('suspended', 'this peer was suspended'))
  }

  resume() {
    this.#pausing = new AbortController()
    this.#resumed.resolve()
  }

  /** Waits until the peer does not pause, or for the signal. */
  async over(signal: AbortSignal): Promise<void> {
    await settled(this.#resumed.promise, signal)
  }
}

/** Waits for a promise that is not rejected, or for the signal. */
export async function settled(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>()
  const onAbort = () => aborted.resolve()
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  await Promise.race([promise, aborted.promise])
  signal.removeEventListener('abort', onAbort)
}
