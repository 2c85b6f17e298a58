import { setTimeout } from 'node:timers/promises'
import { TrackerError } from '../errors.ts'

/** Milliseconds. */
const BASE = 1000
const CAP = 60_000
/** A longer timer ends at once. */
const LONGEST = 2 ** 31 - 1

/**
 * Milliseconds before the next attempt: what the tracker asked for, if it did, and then exponential with full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 *
 * @param failures in a row, from 1
 */
export function backoff(failures: number, error?: unknown, random = Math.random()): number {
  const asked = error instanceof TrackerError ? (error.retryAfter ?? 0) * 1000 : 0
  return asked + random * Math.min(BASE * 2 ** (failures - 1), CAP)
}

/**
 * Waits for some time, or until the signal.
 *
 * @param options.ref whether this keeps the process alive
 */
export async function pause(milliseconds: number, signal: AbortSignal, { ref = true } = {}): Promise<void> {
  await setTimeout(Math.min(milliseconds, LONGEST), undefined, { signal, ref }).catch(() => {})
}
