export { PeerError, TrackerError } from './errors.ts'
export type { Credentials } from './identity.ts'
export { type AnnounceOptions, type Change, RelayPeer } from './peer.ts'
export type { Broadcast } from './tracker.ts'
