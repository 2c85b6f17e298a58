import type { FastifySchemaValidationError } from 'fastify'
import { ApiError, type ErrorCode } from '../runtime/error-catalogue.ts'
import { excerpt } from '../runtime/excerpt.ts'

/** The error of a request that does not fit its schema: names the member, and quotes the schema's description. */
export function schemaErrorFormatter(errors: FastifySchemaValidationError[]) {
  // Ajv stops at the first error; `verbose` adds the schema that it violates.
  const [error] = errors as [FastifySchemaValidationError & { parentSchema?: { description?: string } }]
  const path = error.instancePath.slice(1)
  const member = path.split('/')[0] || (error.params.missingProperty as string | undefined)
  if (!member) {
    const unknown = error.params.additionalProperty
    const message = unknown ? `unknown member: ${excerpt(unknown as string)}` : `the request ${error.message}`
    return new ApiError('invalid_request', { message })
  }
  const description = error.parentSchema?.description
  const expected = description ? `must be ${description}` : error.message
  const message = path ? `${path} ${expected}` : `${member} is missing`
  return new ApiError(`invalid_${member}` as ErrorCode, { message })
}
