import type { ServerResponse } from 'node:http'

/** Milliseconds after which a caller who reads nothing is disconnected. */
const SILENCE = 10_000
/** Milliseconds before the average counts. */
const GRACE = 10_000
/** Bytes per second, on average. */
const SPEED = 64 * 1024

export interface MinimumRateOptions {
  silence?: number
  grace?: number
  speed?: number
}

export type MinimumRate = ReturnType<typeof enforceMinimumRate>

/** Disconnects a caller who reads nothing for a while, or too slowly on average: an answer in progress takes memory. */
export function enforceMinimumRate(
  response: ServerResponse,
  { silence = SILENCE, grace = GRACE, speed = SPEED }: MinimumRateOptions = {}
) {
  let bytes = 0
  /** Milliseconds that the caller had before `since`. */
  let spent = 0
  let since = performance.now()
  let timer: NodeJS.Timeout | undefined

  function check() {
    const left = Math.max(grace, (bytes / speed) * 1000) - spent - (performance.now() - since)
    if (left > 0) timer = setTimeout(check, left)
    else response.destroy()
  }

  response.setTimeout(silence)
  response.once('close', () => clearTimeout(timer))
  check()

  return {
    /** Counts bytes for the caller to read. */
    add(length: number) {
      bytes += length
    },
    /** Waits for work of our own, whose time does not count against the caller. */
    async pause<T>(work: Promise<T>): Promise<T> {
      clearTimeout(timer)
      spent += performance.now() - since
      try {
        return await work
      } finally {
        since = performance.now()
        if (!response.closed) check()
      }
    }
  }
}
