export type { Caller } from './connections/caller.ts'
export { peerFingerprint } from './connections/dial.ts'
export type { KnownPeer } from './connections/known-peers.ts'
export { type Attempt, PeerError, type PeerErrorCode, TrackerError } from './errors.ts'
export type { Credentials } from './identity/identity.ts'
export type { Rotation } from './identity/rotation-chain.ts'
export { RelayPeer } from './peer.ts'
export type {
  CallOptions,
  Events,
  ListenOptions,
  Logger,
  OpenOptions,
  PeerTlsOptions
} from './peer-options.ts'
export type { PeerState } from './presence/announcement.ts'
export type { AnnounceOptions, UpdateOptions } from './presence/presence.ts'
export type { Change } from './presence/watcher.ts'
export type { Broadcast } from './tracker/tracker.ts'
