interface Entry {
  readonly status: number
  /** In words for the caller; never about the inside. May change. */
  readonly message: string
}

type ByStatus = Record<number, Record<string, string>>
type CodeOf<Errors extends ByStatus> = { [Status in keyof Errors]: keyof Errors[Status] }[keyof Errors] & string

/** Turns messages by status and code into entries by code. */
function catalogue<const Errors extends ByStatus>(errors: Errors) {
  const entries = Object.entries<Record<string, string>>(errors).flatMap(([status, messages]) =>
    Object.entries(messages).map(([code, message]) => [code, Object.freeze({ status: Number(status), message })])
  )
  return Object.freeze(Object.fromEntries(entries) as Record<CodeOf<Errors>, Entry>)
}

const SIGNATURE = 'certificate must be signed with SHA-256, SHA-384, SHA-512, Ed25519 or Ed448'

/** Why a certificate cannot be registered. */
const UNACCEPTABLE = {
  invalid_certificate: 'certificate must be exactly one CERTIFICATE block in PEM',
  private_key_sent: 'certificate holds a private key: keep that to yourself and make a new one',
  certificate_request_sent: 'certificate is a signing request: send a self-signed certificate',
  multiple_certificates: 'certificate must be one certificate, not several',
  certificate_too_large: 'certificate must be at most 6144 bytes in DER',
  trailing_data: 'certificate has bytes that do not belong to it',
  malformed_certificate: 'certificate has a structure that is not X.509 in DER: make one with another tool',
  weak_key: 'certificate must have a key of RSA 2048 bits, EC P-256, Ed25519, Ed448 or stronger',
  unsupported_key:
    'certificate must have a key that TLS libraries accept: RSA of at most 8192 bits, EC P-256, P-384 or P-521 (named and ' +
    'uncompressed), Ed25519 or Ed448',
  weak_signature: SIGNATURE,
  unsupported_signature: SIGNATURE,
  certificate_expired: 'certificate has expired',
  certificate_not_yet_valid: 'certificate is not valid yet: its validity begins more than five minutes from now'
}

export const UNACCEPTABLE_CERTIFICATE = Object.keys(UNACCEPTABLE) as (keyof typeof UNACCEPTABLE)[]

/** Every error that the API or nginx answers. Codes are stable: programs compare them. */
export const ERRORS = catalogue({
  400: {
    bad_request: 'the request could not be read',
    https_required: 'speak HTTPS to this port',
    invalid_request: 'unknown member: name',
    invalid_email: 'email must be a valid e-mail address of at most 254 characters',
    invalid_fingerprint: 'fingerprint must be the SHA-256 of a certificate in base64url: 43 characters',
    invalid_port: 'port must be an integer from 1 to 65535',
    invalid_addresses: 'addresses must be IPv4 or IPv6 literals, without a port or zone id; "example.com" is not',
    invalid_capabilities: 'capabilities must be at most 4096 bytes of JSON',
    invalid_ttl: 'ttl must be an integer from 60 to 3600, in seconds',
    invalid_limit: 'limit must be an integer from 1 to 1000',
    invalid_cursor: 'cursor must be the one in the Link of the page before',
    invalid_signature:
      'signature must be base64url, and made with the key of the certificate that you present over ' +
      '"relay-tracker rotation v1", a line feed and the DER of the next certificate',
    invalid_token: 'token must be the one in the mail',
    ...UNACCEPTABLE
  },
  403: {
    certificate_revoked: 'this certificate was revoked',
    email_unverified: 'confirm your e-mail address first: follow the link in the mail to it',
    proof_required: 'present the certificate that you register in the TLS handshake'
  },
  404: {
    not_found: 'there is nothing at this address',
    unknown_link: 'this link no longer works',
    peer_not_found: 'no such peer is online',
    not_online: 'you are not online'
  },
  405: { method_not_allowed: 'this method is not allowed here' },
  408: { request_timeout: 'the request could not be read: request timeout' },
  409: {
    email_taken: 'this e-mail address is registered with another certificate',
    certificate_taken: 'this certificate is registered with another e-mail address',
    already_registered: 'this e-mail address and certificate are registered already'
  },
  413: { payload_too_large: 'the request body is too large' },
  414: { uri_too_long: 'the address is too long' },
  415: { unsupported_media_type: 'send the body as application/json, uncompressed' },
  421: { misdirected_request: 'this server does not answer for that host' },
  429: {
    too_many_requests: 'too many requests, try again soon',
    too_many_mails: 'too many mails were asked for: try again in an hour'
  },
  431: { request_header_fields_too_large: 'the request headers are too large' },
  500: { internal_error: 'something went wrong on our side' },
  501: { not_implemented: 'this method or transfer encoding is not supported' },
  503: { service_unavailable: 'the service is unavailable, try again soon' }
})

/** What is wrong with the certificate of the TLS handshake. Some of these codes are also in `ERRORS`, with another status. */
export const CALLER_ERRORS = catalogue({
  401: {
    certificate_required: 'present your registered certificate in the TLS handshake',
    certificate_unknown: 'this certificate is not registered',
    certificate_revoked: 'this certificate was revoked',
    certificate_expired: 'this certificate has expired',
    certificate_not_yet_valid: 'this certificate is not valid yet',
    certificate_too_large: 'certificate must be at most 6144 bytes in DER',
    invalid_certificate: 'the client certificate could not be read'
  }
})

export type ErrorCode = keyof typeof ERRORS
export type CallerErrorCode = keyof typeof CALLER_ERRORS

interface Details {
  /** Replaces the catalogue's message, to say more. */
  message?: string | undefined
  /** Seconds after which to try again. */
  retryAfter?: number
}

/** An error for the caller, to be thrown where it is found. `http/error-handler.ts` makes the HTTP answer. */
export class ApiError extends Error {
  readonly code: ErrorCode | CallerErrorCode
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, { message = ERRORS[code].message, retryAfter }: Details = {}) {
    super(message)
    this.code = code
    this.retryAfter = retryAfter
  }
}

/** An error about the certificate of the TLS handshake. */
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
