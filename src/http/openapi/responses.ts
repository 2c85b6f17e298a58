import type { CallerErrorCode, ErrorCode } from '../../runtime/error-catalogue.ts'
import { callerErrors, errors, header } from './operation.ts'

const retryAfter = { 'Retry-After': header('seconds after which to try again', { type: 'integer', minimum: 1 }) }

/** What is wrong with a request as such; 400 of every call has these too. */
export const UNREADABLE: ErrorCode[] = ['bad_request', 'https_required']

/** Where there is a body of JSON, and that is no JSON, or JSON that not everyone reads alike. */
export const UNREADABLE_JSON = { bad_request: 'the body could not be read: it is not valid JSON' }

/** What is wrong with a certificate that is to be registered. */
export const UNACCEPTABLE_CERTIFICATE: ErrorCode[] = [
  ...(['invalid_certificate', 'private_key_sent', 'certificate_request_sent', 'multiple_certificates'] as const),
  ...(['certificate_too_large', 'trailing_data', 'malformed_certificate', 'weak_key', 'unsupported_key'] as const),
  ...(['weak_signature', 'unsupported_signature', 'certificate_expired', 'certificate_not_yet_valid'] as const)
]

/** Examples of what is said of them. */
export const MALFORMED = {
  malformed_certificate: 'certificate has a negative serial number: make one with another tool'
}

/** What may be wrong with the certificate in the handshake, apart from its validity period. */
const UNREGISTERED: CallerErrorCode[] = [
  ...(['certificate_required', 'certificate_unknown', 'certificate_revoked'] as const),
  ...(['certificate_too_large', 'invalid_certificate'] as const)
]

export const tooManyRequests = (codes: ErrorCode[]) =>
  errors('More than one address may ask for.', codes, { headers: retryAfter })

/** What several calls answer: `components.responses` of the description. */
export const RESPONSES = {
  Unreadable: errors('The request cannot be read.', UNREADABLE),
  Unauthorized: callerErrors(
    'The TLS handshake presented no certificate, or one that is not registered or not valid.',
    [...UNREGISTERED, 'certificate_expired', 'certificate_not_yet_valid']
  ),
  Unregistered: callerErrors(
    'The TLS handshake presented no certificate, or one that is not registered.',
    UNREGISTERED
  ),
  UnreadableCertificate: callerErrors('The certificate in the TLS handshake cannot be read. None is required here.', [
    'certificate_too_large',
    'invalid_certificate'
  ]),
  Unverified: errors('With verified e-mail: the link in the mail was not confirmed yet.', ['email_unverified']),
  PayloadTooLarge: errors('The body has more than 16 KiB.', ['payload_too_large']),
  UnsupportedMediaType: errors('The body is not `application/json`, or is compressed.', ['unsupported_media_type'], {
    headers: { 'Accept-Encoding': { description: 'present if the body was compressed', schema: { const: 'identity' } } }
  }),
  TooManyRequests: tooManyRequests(['too_many_requests']),
  InternalError: errors('A fault of ours. The answer says nothing about it; the log does.', ['internal_error']),
  ServiceUnavailable: errors(
    'The database is unavailable, or more is asked for than can be served. What was asked for is not done later.',
    ['service_unavailable'],
    { headers: retryAfter }
  ),
  Refused: errors(
    'Whatever else HTTP itself may be refused with: 400, 404, 405, 408, 413, 414, 431 and 501. `Allow` comes with 405.',
    [
      ...UNREADABLE,
      ...(['not_found', 'method_not_allowed', 'request_timeout', 'payload_too_large', 'uri_too_long'] as const),
      ...(['request_header_fields_too_large', 'not_implemented'] as const)
    ],
    {
      headers: {
        Allow: { description: 'with 405: the methods that there are at this address', schema: { type: 'string' } }
      },
      messages: { method_not_allowed: 'use GET or HEAD here' }
    }
  )
}
