import { Type } from 'typebox'

// A description in a request's schema completes the error message: "email must be …".

export const VALID_EMAIL = {
  format: 'email',
  maxLength: 254,
  description: 'a valid e-mail address of at most 254 characters'
}

/** Each rule has its own message. The lengths are those of RFC 5321, section 4.5.3.1, and RFC 1035, section 2.3.4. */
export const Email = Type.String({
  description: VALID_EMAIL.description,
  allOf: [
    Type.String({ pattern: '^\\S*$', description: 'without spaces; in a URL, write + as %2B' }),
    Type.String({
      pattern: '^[\\x00-\\x7f]*$',
      description: 'in ASCII, with an international domain in its xn-- form'
    }),
    Type.String(VALID_EMAIL),
    Type.String({ pattern: '^[^@]{1,64}@', description: 'an address with at most 64 characters before the @' }),
    Type.String({
      pattern: '@([^.]{1,63}\\.)*[^.]{1,63}$',
      description: 'at a domain whose parts have at most 63 characters each'
    }),
    Type.String({
      // No top-level domain is a number; a domain that ends in one is an IPv4 address in some spelling, such as 0x7f.1.
      pattern: '\\.[A-Za-z][^.]*$',
      description: 'at a domain name whose last part begins with a letter, not at an IP address'
    })
  ]
})

/** SHA-256 in base64url. */
export const Fingerprint = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}$',
  description: 'the SHA-256 of a certificate in base64url: 43 characters'
})

/** RFC 3339, UTC, milliseconds. */
export const Timestamp = Type.Unsafe<Date>({ type: 'string', format: 'date-time' })

export const Id = Type.String({ format: 'uuid' })

/** The media type of an answer that PostgreSQL wrote as JSON. */
export const JSON_TYPE = 'application/json; charset=utf-8'

/** A header that an answer always has. */
export function header(description: string, schema: object) {
  return { description, required: true, ...schema }
}

/** An answer in a route's `response`. Fastify serializes it by `schema`; the rest documents it. */
export function answer<Schema>(
  description: string,
  schema: Schema,
  examples: Record<string, unknown>,
  { type = 'application/json', headers }: { type?: string; headers?: Record<string, object> } = {}
) {
  const content = { [type]: { schema, examples: named(examples) } }
  return { description, headers, content: content as Record<string, { schema: Schema }> }
}

/** An answer without content. */
export function noContent(description: string, headers?: Record<string, object>) {
  return Type.Unsafe<undefined>(Type.Null({ description, headers }))
}

/** The part of a schema with the examples of a body, a query member or a header. */
export function examples(values: Record<string, unknown>) {
  return { 'x-examples': named(values) }
}

function named(examples: Record<string, unknown>) {
  return Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]))
}
