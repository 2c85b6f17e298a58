import type { ServerResponse } from 'node:http'

/** Milliseconds after which a caller is cut off who reads nothing. */
const SILENCE = 10_000
/** Milliseconds before it matters how fast a caller reads. */
const GRACE = 10_000
/** What a caller then has to have read on average, in bytes per second. */
const SPEED = 64 * 1024

export interface MinimumRateOptions {
  silence?: number
  grace?: number
  speed?: number
}

export type MinimumRate = ReturnType<typeof enforceMinimumRate>

/**
 * Cuts a response off whose caller reads nothing for a while, or is too slow on average since the first byte: whatever is kept for it is
 * kept for the time that a fair reader takes, and no longer.
 */
export function enforceMinimumRate(
  response: ServerResponse,
  { silence = SILENCE, grace = GRACE, speed = SPEED }: MinimumRateOptions = {}
) {
  let bytes = 0
  /** Milliseconds that the caller has had until `since`. */
  let spent = 0
  let since = performance.now()
  let timer: NodeJS.Timeout | undefined

  function look() {
    const left = Math.max(grace, (bytes / speed) * 1000) - spent - (performance.now() - since)
    if (left > 0) timer = setTimeout(look, left)
    else response.destroy()
  }

  response.setTimeout(silence)
  response.once('close', () => clearTimeout(timer))
  look()

  return {
    /** So much more is there to be read. */
    add(length: number) {
      bytes += length
    },
    /** Waits for something other than the caller, which does not count against it. */
    async pause<T>(work: Promise<T>): Promise<T> {
      clearTimeout(timer)
      spent += performance.now() - since
      try {
        return await work
      } finally {
        since = performance.now()
        if (!response.closed) look()
      }
    }
  }
}
