import { STATUS_CODES } from 'node:http'
import type { FastifySchema } from 'fastify'
import { CALLER_ERRORS, type CallerErrorCode, ERRORS, type ErrorCode } from '../runtime/error-catalogue.ts'
import { header } from './shared-schemas.ts'

/** A code of the catalogue, optionally with this call's own message. */
export type DocumentedError = ErrorCode | readonly [code: ErrorCode, message: string]

export interface Response {
  description: string
  headers?: Record<string, { description: string; schema: object }>
  content?: Record<string, object>
}

const UNREADABLE_CERTIFICATE: CallerErrorCode[] = ['certificate_too_large', 'invalid_certificate']
const UNREGISTERED: CallerErrorCode[] = [
  ...(['certificate_required', 'certificate_unknown', 'certificate_revoked'] as const),
  ...UNREADABLE_CERTIFICATE
]
const INVALID: CallerErrorCode[] = [...UNREGISTERED, 'certificate_expired', 'certificate_not_yet_valid']

/** Which certificate a call wants in the TLS handshake, and how it refuses any other. */
export const CERTIFICATES = {
  registered: { words: 'Present your registered certificate.', security: [{ certificate: [] }], refusals: INVALID },
  pending: {
    words: 'Present your certificate, registered or waiting for confirmation.',
    security: [{ certificate: [] }],
    refusals: UNREGISTERED
  },
  optional: {
    words: 'You may present a certificate.',
    security: [{ certificate: [] }, {}],
    refusals: UNREADABLE_CERTIFICATE
  },
  none: { words: 'No certificate is asked for.', security: [], refusals: [] }
}

const UNREADABLE_JSON = ['bad_request', 'the body could not be read: it is not valid JSON'] as const

const retryAfter = { 'Retry-After': header('seconds after which to try again', { type: 'integer', minimum: 1 }) }

const HEADERS: Partial<Record<string, object>> = {
  too_many_requests: retryAfter,
  service_unavailable: retryAfter,
  peer_not_found: {
    'Retry-After': header('seconds after which to look again: the more lookups find nobody, the longer', {
      type: 'integer',
      minimum: 60,
      maximum: 3600
    })
  },
  method_not_allowed: {
    Allow: { description: 'with 405: the methods that there are at this address', type: 'string' }
  },
  unsupported_media_type: {
    'Accept-Encoding': { description: 'present if the body was compressed', type: 'string', const: 'identity' }
  }
}

/** The errors of a call by status: its own, and those that calls share. */
export function errorResponses({ certificate = 'registered', errors = [], body, produces }: FastifySchema) {
  const codes: DocumentedError[] = [...errors, body && !produces ? UNREADABLE_JSON : 'bad_request', 'https_required']
  if (certificate === 'registered') codes.push('email_unverified')
  if (body) codes.push('payload_too_large')
  codes.push('too_many_requests', 'service_unavailable')
  // Where the API answers with pages, only the edge's errors are JSON.
  if (!produces) codes.push('internal_error')
  if (!produces && body) codes.push('unsupported_media_type')
  const refusals = [
    ...codes.map(refusal),
    ...CERTIFICATES[certificate].refusals.map((code) => ({ ...CALLER_ERRORS[code], code }))
  ]
  const byStatus = Object.groupBy(refusals, ({ status }) => status) as Record<string, Refusal[]>
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, group]) => [status, describe(String(STATUS_CODES[status]), group)])
  )
}

export const REFUSED = describe(
  'Whatever else is wrong with the request as HTTP (400, 404, 405, 408, 413, 414, 431 or 501)',
  [
    ...(['bad_request', 'https_required', 'not_found'] as const),
    ['method_not_allowed', 'use GET or HEAD here'] as const,
    ...(['request_timeout', 'payload_too_large', 'uri_too_long', 'request_header_fields_too_large'] as const),
    'not_implemented' as const
  ].map(refusal)
)

type Refusal = ReturnType<typeof refusal>

function refusal(error: DocumentedError) {
  const [code, message] = typeof error === 'string' ? [error, ERRORS[error].message] : error
  return { status: ERRORS[code].status, code: code as string, message }
}

function describe(reason: string, refusals: Refusal[]): Response {
  const codes = refusals.map(({ code }) => code)
  const headers = Object.assign({}, ...codes.map((code) => HEADERS[code]))
  const schema = {
    allOf: [
      { $ref: '#/components/schemas/TrackerError' },
      { type: 'object', properties: { code: { type: 'string', enum: codes } } }
    ]
  }
  const examples = Object.fromEntries(refusals.map(({ code, message }) => [code, { value: { error: message, code } }]))
  return {
    description: `${reason}: ${codes.map((code) => `\`${code}\``).join(', ')}`,
    ...(Object.keys(headers).length > 0 && { headers: openapiHeaders(headers) }),
    content: { 'application/json': { schema, examples } }
  }
}

/** Converts headers to OpenAPI's form, which has `required` and `example` outside the schema. */
export function openapiHeaders(headers: Record<string, { description: string; required?: boolean; example?: string }>) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, { description, required, example, ...schema }]) => {
      return [name, { description, required, schema, example }]
    })
  )
}
