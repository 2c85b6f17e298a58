/** An error as a caller gets it. */
interface Entry {
  /** Of HTTP. */
  readonly status: number
  /** What is wrong, in words for the caller; never about the inside. May change. */
  readonly message: string
}

function catalogue<Code extends string>(entries: Record<Code, Entry>) {
  for (const entry of Object.values(entries)) Object.freeze(entry)
  return Object.freeze(entries)
}

const SIGNATURE = 'certificate must be signed with SHA-256, SHA-384, SHA-512, Ed25519 or Ed448'

/** Why a certificate cannot be registered. */
const CERTIFICATE_ERRORS = catalogue({
  invalid_certificate: { status: 400, message: 'certificate must be exactly one CERTIFICATE block in PEM' },
  private_key_sent: {
    status: 400,
    message: 'certificate holds a private key: keep that to yourself and make a new one'
  },
  certificate_request_sent: {
    status: 400,
    message: 'certificate is a signing request: send a self-signed certificate'
  },
  multiple_certificates: { status: 400, message: 'certificate must be one certificate, not several' },
  certificate_too_large: { status: 400, message: 'certificate must be at most 6144 bytes in DER' },
  trailing_data: { status: 400, message: 'certificate has bytes that do not belong to it' },
  malformed_certificate: {
    status: 400,
    message: 'certificate has a structure that is not X.509 in DER: make one with another tool'
  },
  weak_key: {
    status: 400,
    message: 'certificate must have a key of RSA 2048 bits, EC P-256, Ed25519, Ed448 or stronger'
  },
  unsupported_key: {
    status: 400,
    message:
      'certificate must have a key that TLS libraries accept: RSA of at most 8192 bits, EC P-256, P-384 or P-521 (named and ' +
      'uncompressed), Ed25519 or Ed448'
  },
  weak_signature: { status: 400, message: SIGNATURE },
  unsupported_signature: { status: 400, message: SIGNATURE },
  certificate_expired: { status: 400, message: 'certificate has expired' },
  certificate_not_yet_valid: {
    status: 400,
    message: 'certificate is not valid yet: its validity begins more than five minutes from now'
  }
})

/** Every error that the API or nginx answers, by its code. Codes are stable: programs compare them. */
export const ERRORS = catalogue({
  // A request as such
  bad_request: { status: 400, message: 'the request could not be read' },
  https_required: { status: 400, message: 'speak HTTPS to this port' },
  not_found: { status: 404, message: 'there is nothing at this address' },
  method_not_allowed: { status: 405, message: 'this method is not allowed here' },
  request_timeout: { status: 408, message: 'the request could not be read: request timeout' },
  payload_too_large: { status: 413, message: 'the request body is too large' },
  uri_too_long: { status: 414, message: 'the address is too long' },
  unsupported_media_type: { status: 415, message: 'send the body as application/json, uncompressed' },
  misdirected_request: { status: 421, message: 'this server does not answer for that host' },
  too_many_requests: { status: 429, message: 'too many requests, try again soon' },
  request_header_fields_too_large: { status: 431, message: 'the request headers are too large' },
  internal_error: { status: 500, message: 'something went wrong on our side' },
  not_implemented: { status: 501, message: 'this method or transfer encoding is not supported' },
  service_unavailable: { status: 503, message: 'the service is unavailable, try again soon' },

  // Its members
  invalid_request: { status: 400, message: 'unknown member: name' },
  invalid_email: { status: 400, message: 'email must be a valid e-mail address of at most 254 characters' },
  invalid_fingerprint: {
    status: 400,
    message: 'fingerprint must be the SHA-256 of a certificate in base64url: 43 characters'
  },
  invalid_port: { status: 400, message: 'port must be an integer from 1 to 65535' },
  invalid_addresses: {
    status: 400,
    message: 'addresses must be IPv4 or IPv6 literals, without a port or zone id; "example.com" is not'
  },
  invalid_capabilities: { status: 400, message: 'capabilities must be at most 4096 bytes of JSON' },
  invalid_ttl: { status: 400, message: 'ttl must be an integer from 60 to 3600, in seconds' },
  invalid_limit: { status: 400, message: 'limit must be an integer from 1 to 1000' },
  invalid_cursor: { status: 400, message: 'cursor must be the one in the Link of the page before' },
  invalid_token: { status: 400, message: 'token must be the one in the mail' },

  // A registration
  ...CERTIFICATE_ERRORS,
  certificate_revoked: { status: 403, message: 'this certificate was revoked' },
  email_unverified: { status: 403, message: 'confirm your e-mail address first: follow the link in the mail to it' },
  proof_required: { status: 403, message: 'present the certificate that you register in the TLS handshake' },
  email_taken: { status: 409, message: 'this e-mail address is registered with another certificate' },
  certificate_taken: { status: 409, message: 'this certificate is registered with another e-mail address' },
  already_registered: { status: 409, message: 'this e-mail address and certificate are registered already' },
  too_many_mails: { status: 429, message: 'too many mails were asked for: try again in an hour' },
  unknown_link: { status: 404, message: 'this link does not work any more' },

  // Who is online
  peer_not_found: { status: 404, message: 'no such peer is online' },
  not_online: { status: 404, message: 'you are not online' }
})

/** What is wrong with the certificate that the caller presents in the TLS handshake. Some codes are also in `ERRORS`, with another status. */
export const CALLER_ERRORS = catalogue({
  certificate_required: { status: 401, message: 'present your registered certificate in the TLS handshake' },
  certificate_unknown: { status: 401, message: 'this certificate is not registered' },
  certificate_revoked: { status: 401, message: 'this certificate was revoked' },
  certificate_expired: { status: 401, message: 'this certificate has expired' },
  certificate_not_yet_valid: { status: 401, message: 'this certificate is not valid yet' },
  certificate_too_large: { status: 401, message: 'certificate must be at most 6144 bytes in DER' },
  invalid_certificate: { status: 401, message: 'the client certificate could not be read' }
})

export const UNACCEPTABLE_CERTIFICATE = Object.keys(CERTIFICATE_ERRORS) as (keyof typeof CERTIFICATE_ERRORS)[]

export type ErrorCode = keyof typeof ERRORS
export type CallerErrorCode = keyof typeof CALLER_ERRORS

interface Details {
  /** In place of the catalogue's, to say more. */
  message?: string | undefined
  /** Seconds after which to try again. */
  retryAfter?: number
}

/** An error for the caller, thrown by whoever finds it. Only `http/error-handler.ts` knows what HTTP makes of it. */
export class ApiError extends Error {
  readonly code: ErrorCode | CallerErrorCode
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, { message = ERRORS[code].message, retryAfter }: Details = {}) {
    super(message)
    this.code = code
    this.retryAfter = retryAfter
  }
}

/** The same about the certificate of the TLS handshake. */
export class CallerError extends ApiError {
  constructor(code: CallerErrorCode, message: string = CALLER_ERRORS[code].message) {
    super(code as ErrorCode, { message })
  }
}

/** The status of an error for the caller. */
export function statusOf(error: ApiError): number {
  if (error instanceof CallerError) return CALLER_ERRORS[error.code as CallerErrorCode].status
  return ERRORS[error.code as ErrorCode].status
}
