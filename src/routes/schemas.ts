import { Type } from 'typebox'
import { MAX_PEM_LENGTH } from '../certificate.ts'

// Descriptions complete the sentence that a caller gets who sends something else: "email must be …".

/** RFC 5321, section 4.5.3.1. */
export const Email = Type.String({
  format: 'email',
  maxLength: 254,
  pattern: '^[^@]{1,64}@',
  description: 'a valid e-mail address of at most 254 characters'
})

/** SHA-256 in base64url. */
export const Fingerprint = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}$',
  description: 'the SHA-256 of a certificate in base64url: 43 characters'
})

/** Its length is judged with the rest of it: a private key of any length has a code of its own. */
export const Pem = Type.String({
  description: `one CERTIFICATE block in PEM of at most ${MAX_PEM_LENGTH} characters`
})

export const Port = Type.Integer({ minimum: 1, maximum: 65535, description: 'an integer from 1 to 65535' })

export const Capabilities = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
  description: 'a JSON object'
})

/** RFC 3339, UTC, milliseconds. */
export const Timestamp = Type.Unsafe<Date>({ type: 'string', format: 'date-time' })

/** Where the tracker saw the peer; null when that is no IP address. */
export const ObservedAddress = Type.Union([Type.String(), Type.Null()])

/** A peer that is online. Answers have the JSON that PostgreSQL wrote. */
export const Broadcast = Type.Unsafe<string>(
  Type.Object({
    email: Type.String(),
    port: Port,
    addresses: Type.Array(Type.String()),
    observed_address: ObservedAddress,
    capabilities: Capabilities,
    fingerprint: Type.String(),
    last_seen: Timestamp,
    expires_at: Timestamp
  })
)

/** Of an answer that is JSON already. */
export const JSON_TYPE = 'application/json; charset=utf-8'
