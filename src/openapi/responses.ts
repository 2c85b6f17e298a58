import { header, problems } from './operation.ts'

const retryAfter = { 'Retry-After': header('seconds after which to try again', { type: 'integer', minimum: 1 }) }

/** What is wrong with a request as such; 400 of every call has these too. */
export const UNREADABLE = {
  bad_request: 'the request could not be read',
  https_required: 'speak HTTPS to this port'
}

/** The same, where there is a body of JSON: when that is no JSON, or JSON that not everyone reads alike. */
export const UNREADABLE_JSON = {
  ...UNREADABLE,
  bad_request: 'the body could not be read: it is not valid JSON'
}

const TOO_LARGE = { certificate_too_large: 'certificate must be at most 6144 bytes in DER' }

/** What is wrong with a certificate that is to be registered. */
export const UNACCEPTABLE_CERTIFICATE = {
  invalid_certificate: 'certificate must be exactly one CERTIFICATE block in PEM',
  private_key_sent: 'certificate holds a private key: keep that to yourself and make a new one',
  certificate_request_sent: 'certificate is a signing request: send a self-signed certificate',
  multiple_certificates: 'certificate must be one certificate, not several',
  ...TOO_LARGE,
  trailing_data: 'certificate has bytes that do not belong to it',
  malformed_certificate: 'certificate has a negative serial number: make one with another tool',
  weak_key: 'certificate must have a key of RSA 2048 bits, EC P-256, Ed25519, Ed448 or stronger',
  unsupported_key:
    'certificate must have a key that TLS libraries accept: RSA of at most 8192 bits, EC P-256, P-384 or P-521 (named and uncompressed), Ed25519 or Ed448',
  weak_signature: 'certificate must be signed with SHA-256, SHA-384, SHA-512, Ed25519 or Ed448',
  unsupported_signature: 'certificate must be signed with SHA-256, SHA-384, SHA-512, Ed25519 or Ed448',
  certificate_expired: 'certificate has expired',
  certificate_not_yet_valid: 'certificate is not valid yet: its validity begins more than five minutes from now'
}

/** Why the certificate in the handshake cannot be read; `invalid_certificate` is the edge's fault. */
const UNREADABLE_CERTIFICATE = { ...TOO_LARGE, invalid_certificate: 'the client certificate could not be read' }

/** What may be wrong with the certificate in the handshake, apart from its validity period. */
const UNREGISTERED = {
  certificate_required: 'present your registered certificate in the TLS handshake',
  certificate_unknown: 'this certificate is not registered',
  certificate_revoked: 'this certificate was revoked',
  ...UNREADABLE_CERTIFICATE
}

export const TOO_MANY_REQUESTS = { too_many_requests: 'too many requests, try again soon' }

export const tooManyRequests = (messages: Record<string, string>) =>
  problems('More than one address may ask for.', messages, retryAfter)

/** What several calls answer: `components.responses` of the description. */
export const RESPONSES = {
  Unreadable: problems('The request cannot be read.', UNREADABLE),
  Unauthorized: problems('The TLS handshake presented no certificate, or one that is not registered or not valid.', {
    ...UNREGISTERED,
    certificate_expired: 'this certificate has expired',
    certificate_not_yet_valid: 'this certificate is not valid yet'
  }),
  Unregistered: problems('The TLS handshake presented no certificate, or one that is not registered.', UNREGISTERED),
  UnreadableCertificate: problems(
    'The certificate in the TLS handshake cannot be read. None is required here.',
    UNREADABLE_CERTIFICATE
  ),
  Unverified: problems('With verified e-mail: the link in the mail was not confirmed yet.', {
    email_unverified: 'confirm your e-mail address first: follow the link in the mail to it'
  }),
  PayloadTooLarge: problems('The body has more than 16 KiB.', {
    payload_too_large: 'the request body is too large'
  }),
  UnsupportedMediaType: problems(
    'The body is not `application/json`, or is compressed.',
    { unsupported_media_type: 'send the body as application/json, uncompressed' },
    { 'Accept-Encoding': { description: 'present if the body was compressed', schema: { const: 'identity' } } }
  ),
  TooManyRequests: tooManyRequests(TOO_MANY_REQUESTS),
  InternalError: problems('A fault of ours. The answer says nothing about it; the log does.', {
    internal_error: 'something went wrong on our side'
  }),
  ServiceUnavailable: problems(
    'The database is away, or more is asked for than can be served. What was asked for is not done later.',
    { service_unavailable: 'the service is unavailable, try again soon' },
    retryAfter
  ),
  Refused: problems(
    'Whatever else HTTP itself may be refused with: 400, 404, 405, 408, 413, 414, 431 and 501. `Allow` comes with 405.',
    {
      ...UNREADABLE,
      not_found: 'there is nothing at this address',
      method_not_allowed: 'use GET or HEAD here',
      request_timeout: 'the request could not be read: request timeout',
      payload_too_large: 'the request body is too large',
      uri_too_long: 'the address is too long',
      request_header_fields_too_large: 'the request headers are too large',
      not_implemented: 'this method or transfer encoding is not supported'
    },
    { Allow: { description: 'with 405: the methods that there are at this address', schema: { type: 'string' } } }
  )
}
