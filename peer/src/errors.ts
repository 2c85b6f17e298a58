/** The tracker refused a call, or did not answer. */
export class TrackerError extends Error {
  override name = 'TrackerError'
  /** The HTTP status; 0 without an answer. */
  readonly status: number
  /** The tracker's own, such as `peer_not_found`; `tracker_unreachable` and `not_a_tracker` are ours. */
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

  /** Whether the same call may succeed later. */
  get isTemporary(): boolean {
    return (
      this.code === 'tracker_unreachable' ||
      this.code === 'not_a_tracker' || // such as a hotel's login page
      this.code === 'email_unverified' ||
      [408, 429].includes(this.status) ||
      this.status >= 500
    )
  }
}

/**
 * A failure of another peer: `impostor` (its certificate is not the one that the tracker names), `peer_unreachable`; or of this
 * one's identity: `no_identity`, `other_identity`, `invalid_tracker`.
 */
export class PeerError extends Error {
  override name = 'PeerError'
  readonly code: 'impostor' | 'peer_unreachable' | 'no_identity' | 'other_identity' | 'invalid_tracker'

  constructor(code: PeerError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Whether the tracker does not know the certificate that was presented. */
export function isCertificateUnknown(error: unknown): boolean {
  return error instanceof TrackerError && error.code === 'certificate_unknown'
}
