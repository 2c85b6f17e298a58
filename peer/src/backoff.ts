import { setTimeout } from 'node:timers/promises'
import { TrackerError } from './errors.ts'

/** Milliseconds. */
const BASE = 1000
const CAP = 60_000

/**
 * Milliseconds to wait before the next attempt: exponential with full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), after what the tracker asked for, if it did.
 *
 * @param failures how many there were in a row, from 1
 */
export function backoff(failures: number, error?: unknown, random = Math.random()): number {
  const asked = error instanceof TrackerError ? (error.retryAfter ?? 0) * 1000 : 0
  return asked + random * Math.min(BASE * 2 ** (failures - 1), CAP)
}

/**
 * Waits so many milliseconds, or until the signal.
 *
 * @param options.ref false for what is no reason that the process stays alive
 */
export async function pause(milliseconds: number, signal: AbortSignal, { ref = true } = {}): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal, ref }).catch(() => {})
}
