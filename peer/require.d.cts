// The types for `require('relay-tracker/peer')`, which returns the same module as `import`. They are the same types, too.
import type * as peer from './dist/index.js' with { 'resolution-mode': 'import' }

export type * from './dist/index.js' with { 'resolution-mode': 'import' }
export declare const RelayPeer: typeof peer.RelayPeer
export type RelayPeer = peer.RelayPeer
export declare const PeerError: typeof peer.PeerError
export type PeerError = peer.PeerError
export declare const TrackerError: typeof peer.TrackerError
export type TrackerError = peer.TrackerError
export declare const peerFingerprint: typeof peer.peerFingerprint
