import { setTimeout } from 'node:timers/promises'

/** Milliseconds that an attempt has before the next one begins as well (RFC 8305, section 5: Connection Attempt Delay). */
const HEAD_START = 250

/**
 * The result of the first attempt that succeeds (RFC 8305). The next one begins when one has failed, or after the head start. What
 * others yield is destroyed.
 *
 * @param attempts each to be broken off by its signal
 * @throws AggregateError when all have failed, with their errors in order
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
