import { setTimeout } from 'node:timers/promises'

/** Milliseconds until the next attempt starts too (RFC 8305, section 5: Connection Attempt Delay). */
const HEAD_START = 250

/**
 * Returns the result of the first attempt to succeed (RFC 8305), and destroys all others. The next attempt starts when the last one
 * has failed, or after the head start.
 *
 * @throws AggregateError with the errors in order, if all failed
 */
export async function race<T extends { destroy: () => unknown }>(
  attempts: ((signal: AbortSignal) => Promise<T>)[]
): Promise<T> {
  const over = new AbortController()
  const begun: Promise<T>[] = []
  try {
    for (const attempt of attempts) {
      const latest = attempt(over.signal)
      begun.push(latest)
      const headStart = setTimeout(HEAD_START, undefined, { signal: over.signal })
      const winner = await Promise.race([Promise.any(begun), latest, headStart].map(orNothing))
      if (winner) return keepOnly(winner, begun)
    }
    return keepOnly(await Promise.any(begun), begun)
  } finally {
    over.abort()
  }
}

function orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
  return promise.catch(() => undefined)
}

function keepOnly<T extends { destroy: () => unknown }>(winner: T, begun: Promise<T>[]) {
  for (const attempt of begun) {
    orNothing(attempt).then((other) => {
      if (other !== winner) other?.destroy()
    })
  }
  return winner
}
