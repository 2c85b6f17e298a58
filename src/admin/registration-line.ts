import Fastify, { type FastifySchemaValidationError } from 'fastify'
import { type Static, Type } from 'typebox'
import { schemaErrorFormatter } from '../http/schema-errors.ts'
import { VALIDATION } from '../http/server-options.ts'
import { Email } from '../http/shared-schemas.ts'
import { parseStrictJson } from '../http/strict-json.ts'
import { Pem, parseCertificate } from '../identity/certificate.ts'
import { Rotations } from '../identity/rotation-signature.ts'
import type { NewRegistration } from './registrations.repository.ts'

/** RFC 3339, in years that PostgreSQL and JavaScript read alike. */
const Time = Type.Optional(
  Type.String({ format: 'date-time', pattern: '^[12]', description: 'a date and time in RFC 3339' })
)

interface Validate {
  (data: unknown): boolean
  /** Of the last call. */
  errors: FastifySchemaValidationError[]
}

/** The members of a registration, and those that an export adds. */
const schema = Type.Object(
  {
    email: Email,
    certificate: Pem,
    id: Type.Optional(Type.String({ format: 'uuid', description: 'a UUID' })),
    created_at: Time,
    proven_at: Time,
    email_verified_at: Time,
    revoked_at: Time,
    revocation_reason: Type.Optional(
      Type.String({ pattern: '^[^\\u0000]{1,500}$', description: 'a text of 1 to 500 characters' })
    ),
    rotations: Type.Optional(Rotations) // each peer checks their signatures for itself
  },
  { additionalProperties: false, dependencies: { revocation_reason: ['revoked_at'] } }
)

/** @returns a function that reads a line by the rules of a registration, and throws what the API would answer */
export async function createLineReader(): Promise<(line: Buffer) => NewRegistration> {
  const fastify = Fastify(VALIDATION)
  // Fastify creates its validator for the first route that needs one.
  fastify.post('/', { schema: { body: schema } }, async () => {})
  await fastify.ready()
  const validate = fastify.validatorCompiler?.({ schema, method: '', url: '' }) as unknown as Validate

  return (line) => {
    const data = parseStrictJson(line) as Static<typeof schema>
    if (!validate(data)) throw schemaErrorFormatter(validate.errors)
    const { certificate: pem, email, ...rest } = data
    const { der, fingerprint, commonName, notBefore, notAfter } = parseCertificate(pem)
    return {
      ...rest,
      email: email.toLowerCase(),
      certificate: der.toString('base64'),
      fingerprint,
      common_name: commonName,
      not_before: notBefore,
      not_after: notAfter
    }
  }
}
