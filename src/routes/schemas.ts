import { Type } from 'typebox'

// Descriptions complete the sentence that a caller gets who sends something else: "email must be …".

/** RFC 5321, section 4.5.3.1. */
export const Email = Type.String({
  format: 'email',
  maxLength: 254,
  pattern: '^[^@]{1,64}@',
  description: 'a valid e-mail address of at most 254 characters'
})

export const Port = Type.Integer({ minimum: 1, maximum: 65535, description: 'an integer from 1 to 65535' })

export const Capabilities = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
  description: 'a JSON object'
})

/** RFC 3339, UTC, milliseconds. */
const Timestamp = Type.Unsafe<Date>({ type: 'string', format: 'date-time' })

/** A peer that is online, as lookup and list return it. */
export const Broadcast = Type.Object({
  email: Type.String(),
  port: Port,
  addresses: Type.Array(Type.String()),
  capabilities: Capabilities,
  fingerprint: Type.String(),
  last_seen: Timestamp,
  expires_at: Timestamp
})
