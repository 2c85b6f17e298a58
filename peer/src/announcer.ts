import { backoff, pause } from './backoff.ts'
import { TrackerError } from './errors.ts'

/** Milliseconds between two checks of the machine's addresses. */
const LOOK = 10_000

/**
 * Keeps a peer announced until the signal: again when the tracker asks for it, at once when the addresses change, and after a pause
 * when an announcement failed.
 *
 * @param options.addresses checked every 10 s
 * @param options.announce announces them; returns the seconds until the next announcement
 * @param options.onFailure told of each temporary failure, and the milliseconds until the next attempt
 * @throws what `announce` throws if repeating it does not help
 */
export async function stayAnnounced(options: {
  addresses: () => string[]
  announce: (addresses: string[], signal: AbortSignal) => Promise<number>
  onFailure: (error: Error, delay: number) => void
  signal: AbortSignal
  look?: number
}): Promise<void> {
  const { signal } = options
  let failures = 0
  while (!signal.aborted) {
    const addresses = options.addresses()
    const changed = new AbortController()
    const watch = setInterval(() => {
      if (String(options.addresses()) !== String(addresses)) changed.abort()
    }, options.look ?? LOOK).unref()
    try {
      const seconds = await options.announce(addresses, signal)
      failures = 0
      await pause(seconds * 1000, AbortSignal.any([signal, changed.signal]), { ref: false })
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof TrackerError) || !error.isTemporary) throw error
      const delay = backoff(++failures, error)
      options.onFailure(error, delay)
      await pause(delay, AbortSignal.any([signal, changed.signal]), { ref: false })
    } finally {
      clearInterval(watch)
    }
  }
}
