import { Type } from 'typebox'
import { MAX_CERTIFICATE } from '../certificate.ts'

// In a request, descriptions complete the sentence that a caller gets who sends something else: "email must be …".

const VALID_EMAIL = { format: 'email', maxLength: 254, description: 'a valid e-mail address of at most 254 characters' }

/** Each rule has its own message. Lengths: RFC 5321, section 4.5.3.1, and RFC 1035, section 2.3.4. */
export const Email = Type.String({
  description: VALID_EMAIL.description,
  allOf: [
    { pattern: '^\\S*$', description: 'without spaces; in a URL, write + as %2B' },
    { pattern: '^[\\x00-\\x7f]*$', description: 'in ASCII, with an international domain in its xn-- form' },
    VALID_EMAIL,
    { pattern: '^[^@]{1,64}@', description: 'an address with at most 64 characters before the @' },
    { pattern: '@([^.]{1,63}\\.)*[^.]{1,63}$', description: 'at a domain whose parts have at most 63 characters each' },
    {
      // No top-level domain is a number; a domain that ends in one is an IPv4 address in some spelling, such as 0x7f.1.
      pattern: '\\.[A-Za-z][^.]*$',
      description: 'at a domain name whose last part begins with a letter, not at an IP address'
    }
  ]
})

/** SHA-256 in base64url. */
export const Fingerprint = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}$',
  description: 'the SHA-256 of a certificate in base64url: 43 characters'
})

/** Checked in code rather than by a schema, because each fault has its own error code. */
export const Pem = Type.String({
  description: `one CERTIFICATE block in PEM, at most ${MAX_CERTIFICATE} bytes in DER`
})

export const Port = Type.Integer({ minimum: 1, maximum: 65535, description: 'an integer from 1 to 65535' })

export const Capabilities = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
  description: 'a JSON object'
})

/** RFC 3339, UTC, milliseconds. */
export const Timestamp = Type.Unsafe<Date>({ type: 'string', format: 'date-time' })

export const Id = Type.String({ format: 'uuid' })

export const ObservedAddress = Type.Union([Type.String(), Type.Null()], {
  description:
    'where the edge saw the peer when it announced, not what the peer claims; null when that was no IP address'
})

const ID = 'Broadcast'

/** To be added to the server, for `Broadcast` refers to it. */
export const BroadcastSchema = Type.Object(
  {
    email: Type.String(VALID_EMAIL),
    port: Port,
    addresses: Type.Array(Type.String(), { description: 'IPv4 and IPv6 addresses, as RFC 5952 writes them' }),
    observed_address: ObservedAddress,
    capabilities: Capabilities,
    fingerprint: Fingerprint,
    last_seen: { ...Timestamp, description: 'of the last announcement' },
    expires_at: Timestamp
  },
  { $id: ID, description: 'A peer that is online.' }
)

/** A peer that is online. Answers have the JSON that PostgreSQL wrote. */
export const Broadcast = Type.Unsafe<string>(Type.Ref(ID))

/** Of an answer that is JSON already. */
export const JSON_TYPE = 'application/json; charset=utf-8'
