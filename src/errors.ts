import { httpErrors } from '@fastify/sensible'

/**
 * An error of the contract, `{"error": message, "code": code}` with `status`, to be thrown by whoever finds it.
 *
 * @param message what is wrong, in words for the caller; never about the inside
 * @param code stable and in snake_case; programs compare it
 */
export function problem(status: number, code: string, message: string) {
  return httpErrors.createError(status, message, { code })
}
