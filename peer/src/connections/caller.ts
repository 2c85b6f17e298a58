import { PeerError, TrackerError } from '../errors.ts'
import type { Broadcast } from '../tracker/tracker.ts'
import type { KnownPeers } from './known-peers.ts'

/** The peer that calls: one that is online or, while the tracker is away, a known one. */
export type Caller = Pick<Broadcast, 'email' | 'port' | 'addresses' | 'fingerprint'> & Partial<Broadcast>

/** @throws PeerError `fingerprint_changed` unless a known peer's former key has signed its certificate */
export function checkFingerprint(knownPeers: KnownPeers, peer: Pick<Broadcast, 'email' | 'fingerprint' | 'rotations'>) {
  if (knownPeers.recognises(peer)) return
  const { email, fingerprint: presented } = peer
  const known = knownPeers.find(email)?.fingerprint
  throw new PeerError(
    'fingerprint_changed',
    `${email} has a new fingerprint, ${presented}, which its old key has not signed; the known one is ${known}`,
    { known, presented, email }
  )
}

/** Whether the tracker may answer later. Until then, known peers are accepted as they are known. */
export function isTrackerAway(error: unknown): boolean {
  return error instanceof TrackerError && (error.isTemporary || error.code === 'tracker_untrusted')
}
