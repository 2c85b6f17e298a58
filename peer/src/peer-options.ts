import type { TLSSocket } from 'node:tls'
import type { Caller } from './connections/caller.ts'
import type { Credentials } from './identity/identity.ts'
import type { PeerState } from './presence/announcement.ts'

export interface OpenOptions {
  /** The folder of the identity; no other application should use it. */
  dir: string
  /** The tracker's URL, without a path: https://relay.example.com */
  tracker?: string
  /** The address by which others find this peer. */
  email?: string
  /** The certificate (PEM) of the tracker or of the authority that signed it, if that is not a public one. */
  ca?: string
  /** Gets every event, and warnings that have no event; for example `console`. No secrets or e-mail addresses are logged. */
  logger?: Logger
}

/** What `console`, pino, winston and others provide. */
export interface Logger {
  info(message: string): void
  warn(message: string): void
}

export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal | undefined
}

export interface ListenOptions {
  /** By default the same as last time, which known peers remember, or any free one if another program uses it. 0 for any free one. */
  port?: number | undefined
  /** The IP address to listen on; by default all of the machine's. */
  host?: string | undefined
  /** Whether to accept this caller; by default everyone who is online or known. */
  accept?: (caller: Caller) => boolean | Promise<boolean>
}

/** For `node:tls` and modules that use it. */
export interface PeerTlsOptions {
  /** PEM. */
  cert: string
  /** PEM. */
  key: string
  minVersion: 'TLSv1.2'
  requestCert: true
  rejectUnauthorized: false
}

export interface Events {
  /** `state` has changed. */
  state: [state: PeerState]
  /** A peer has called, and is accepted. */
  connection: [socket: TLSSocket, caller: Caller]
  /** A caller from this address was not accepted. */
  refused: [reason: Error, address: string]
  /** The key and certificate were replaced, by this process or another. */
  rotated: [credentials: Credentials]
}
