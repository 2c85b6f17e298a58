/** The tracker refused a call, did not answer, or is not the tracker. */
export class TrackerError extends Error {
  override name = 'TrackerError'
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number
  /**
   * The tracker's own, such as `peer_not_found`, or one of the library's: `tracker_unreachable`, `tracker_untrusted` (its certificate is
   * not accepted, and nothing was sent) or `not_a_tracker` (something else answers). `cause.code` then has the system's, such as
   * `ENOTFOUND`.
   */
  readonly code: string
  /** Seconds to wait before the next call, if the tracker says so. */
  readonly retryAfter: number | undefined

  constructor(
    message: string,
    { status, code, retryAfter, cause }: { status: number; code: string; retryAfter?: number; cause?: unknown }
  ) {
    super(message, { cause })
    this.status = status
    this.code = code
    this.retryAfter = retryAfter
  }

  /** Whether the same call may succeed later without any change. */
  get isTemporary(): boolean {
    return (
      this.code === 'tracker_unreachable' ||
      this.code === 'not_a_tracker' || // such as a proxy's error page
      this.code === 'email_unverified' ||
      [408, 429].includes(this.status) ||
      this.status >= 500
    )
  }
}

/** Why one address of a peer did not work. */
export interface Attempt {
  address: string
  port: number
  /** The operating system's or Node.js's, such as `ECONNREFUSED`, or `timeout`, `other_peer`, `own_identity`. */
  code: string
  message: string
}

/** What some errors have besides their code. */
interface Details {
  email?: string | undefined
  attempts?: Attempt[] | undefined
  reason?: string | undefined
  known?: string | undefined
  presented?: string | undefined
  cause?: unknown
}

/** Why a PeerError was thrown. */
export type PeerErrorCode =
  /** An argument is wrong: the call can never work. */
  | 'invalid_argument'
  /** The folder has no identity, and `tracker` or `email` is missing to make one. */
  | 'no_identity'
  /** The identity in the folder is for another address or tracker. */
  | 'other_identity'
  /** A file of the identity is damaged, or its key and certificate do not match. */
  | 'identity_damaged'
  /** A file of the identity cannot be read, for example because of its permissions. It may be intact. */
  | 'identity_unreadable'
  /** A file could not be written, for example because the disk is full. What was there before is intact. */
  | 'identity_not_saved'
  /** Another process announces this identity. */
  | 'already_running'
  /** The announcement was withdrawn or replaced before it was online. */
  | 'withdrawn'
  /** `suspend` was called. */
  | 'suspended'
  /** `close` was called. */
  | 'closed'
  /** No address of the peer worked: see `attempts`. */
  | 'peer_unreachable'
  /** The peer does not accept this one: see `reason`. */
  | 'refused'
  /** A certificate that is not the peer's was presented at an address where only the peer should be. */
  | 'impostor'
  /** The peer to connect to is this one itself. */
  | 'own_identity'
  /** A known peer has a new certificate that its old key has not signed: see `known` and `presented`. */
  | 'fingerprint_changed'

/** A failure that concerns another peer, this one's identity, or the arguments of a call. */
export class PeerError extends Error {
  override name = 'PeerError'
  readonly code: PeerErrorCode
  /** The other peer's e-mail address, if the failure concerns one. */
  declare readonly email: string | undefined
  /** With `peer_unreachable` and `impostor`: why each address failed, in the order in which they were tried. */
  declare readonly attempts: Attempt[] | undefined
  /** With `refused`: what the peer says, `not_online`, `declined`, `fingerprint_changed`, `unavailable` or `busy`. */
  declare readonly reason: string | undefined
  /** With `fingerprint_changed`: the fingerprint of the certificate that is known. */
  declare readonly known: string | undefined
  /** With `fingerprint_changed`: the fingerprint of the new certificate, according to the tracker. */
  declare readonly presented: string | undefined

  constructor(code: PeerErrorCode, message: string, { cause, ...details }: Details = {}) {
    super(message, cause === undefined ? {} : { cause })
    this.code = code
    Object.assign(this, details)
  }
}

/** Whether the tracker refuses a certificate that was made by a wrong clock. */
export function isWrongClock(error: unknown): boolean {
  return error instanceof TrackerError && ['certificate_not_yet_valid', 'certificate_expired'].includes(error.code)
}

/** Whether the tracker does not know the certificate that was presented. */
export function isCertificateUnknown(error: unknown): boolean {
  return error instanceof TrackerError && error.code === 'certificate_unknown'
}
