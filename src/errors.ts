import { httpErrors } from '@fastify/sensible'
import type { FastifySchemaValidationError } from 'fastify'

/**
 * An error of the contract, `{"error": message, "code": code}` with `status`, to be thrown by whoever finds it.
 *
 * @param message what is wrong, in words for the caller; never about the inside
 * @param code stable and in snake_case; programs compare it
 */
export function problem(status: number, code: string, message: string) {
  return httpErrors.createError(status, message, { code })
}

/** What a caller sent, for a message: cut after 64 characters, and without what a terminal would obey or not show. */
export function excerpt(text: string): string {
  const start = text.slice(0, 64).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\uFFFD')
  return start.length < text.length ? `${start}…` : start
}

/** What `read` returns; whatever it throws is replaced by what `refusal` makes of it. */
export function readable<T>(read: () => T, refusal: (error: unknown) => Error): T {
  try {
    return read()
  } catch (error) {
    throw refusal(error)
  }
}

/** What a request gets that does not fit its schema: names the member, and says what the schema describes. */
export function schemaErrorFormatter(errors: FastifySchemaValidationError[]) {
  // Ajv stops at the first; `verbose` adds the schema it was found in.
  const [error] = errors as [FastifySchemaValidationError & { parentSchema?: { description?: string } }]
  const path = error.instancePath.slice(1)
  const member = path.split('/')[0] || (error.params.missingProperty as string | undefined)
  if (!member) {
    const unknown = error.params.additionalProperty
    return problem(
      400,
      'invalid_request',
      unknown ? `unknown member: ${excerpt(unknown as string)}` : `the request ${error.message}`
    )
  }
  const description = error.parentSchema?.description
  const expected = description ? `must be ${description}` : error.message
  return problem(400, `invalid_${member}`, path ? `${path} ${expected}` : `${member} is missing`)
}
