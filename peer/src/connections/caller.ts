import { TrackerError } from '../errors.ts'
import type { Broadcast } from '../tracker/tracker.ts'

/** The peer that calls: one that is online or, while the tracker is away, a known one. */
export type Caller = Pick<Broadcast, 'email' | 'port' | 'addresses' | 'fingerprint'> & Partial<Broadcast>

/** Whether the tracker may answer later. Until then, known peers are accepted as they are known. */
export function isTrackerAway(error: unknown): boolean {
  return error instanceof TrackerError && (error.isTemporary || error.code === 'tracker_untrusted')
}
