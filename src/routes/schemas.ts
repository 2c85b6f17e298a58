import { Type } from 'typebox'

/** An e-mail address, RFC 5321: at most 254 characters, 64 of them before the @. */
export const Email = Type.String({ format: 'email', maxLength: 254, pattern: '^[^@]{1,64}@' })

export const Port = Type.Integer({ minimum: 1, maximum: 65535 })

export const Capabilities = Type.Record(Type.String(), Type.Unknown())

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
