import type { ServerResponse } from 'node:http'

/** Milliseconds after which a caller who reads nothing is disconnected. */
const SILENCE = 10_000
/** Milliseconds before a caller's speed matters. */
const GRACE = 10_000
/** Bytes per second that a caller must then have read on average. */
const SPEED = 64 * 1024

export interface MinimumRateOptions {
  silence?: number
  grace?: number
  speed?: number
}

export type MinimumRate = ReturnType<typeof enforceMinimumRate>

/**
 * Disconnects a caller who reads nothing for a while, or too slowly on average since the first byte: nothing is kept for longer than a
 * fair reader takes.
 */
export function enforceMinimumRate(
  response: ServerResponse,
  { silence = SILENCE, grace = GRACE, speed = SPEED }: MinimumRateOptions = {}
) {
  let bytes = 0
  /** Milliseconds that the caller had before `since`. */
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
    /** Counts bytes that the caller is to read. */
    add(length: number) {
      bytes += length
    },
    /** Waits for work whose time does not count against the caller. */
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
