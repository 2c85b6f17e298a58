import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isDatabaseUnavailable, isLoginRefused } from '../postgres/postgres-errors.ts'
import { ApiError, ERRORS, type ErrorCode, statusOf } from '../runtime/error-catalogue.ts'

/** Seconds after which to retry a temporary failure. */
export const RETRY_AFTER = 2

/** Answers every error with `{"error": …, "code": …}`. */
export default fp(
  async (fastify) => {
    const methods = new Map<string, string[]>()
    fastify.addHook('onRoute', ({ method, url }) => {
      methods.set(url, [...(methods.get(url) ?? []), method].flat())
    })

    fastify.setErrorHandler(sendError)

    fastify.setNotFoundHandler((request, reply) => {
      const allowed = methods.get(request.url.split('?', 1)[0] as string)
      if (!allowed) throw new ApiError('not_found')
      reply.header('allow', allowed.join(', '))
      throw new ApiError('method_not_allowed', { message: `use ${allowed.join(' or ')} here` })
    })
  },
  { name: 'error-handler', dependencies: ['request-log'] }
)

/** The error handler; also answers requests that fail before a route is found. */
export function sendError(error: FastifyError | ApiError, request: FastifyRequest, reply: FastifyReply) {
  const { code, message } = prepareErrorReply(error, request, reply)
  return reply.send({ error: message, code })
}

/** Records an error for the log, sets the reply's status and headers, and returns what the body should say. */
export function prepareErrorReply(error: FastifyError | ApiError, request: FastifyRequest, reply: FastifyReply) {
  const refusal = error instanceof ApiError ? error : toApiError(error, request)
  const { code } = refusal
  const status = statusOf(refusal)
  const isTemporary = code === 'service_unavailable'
  const retryAfter = isTemporary ? RETRY_AFTER : refusal.retryAfter
  request.refusal = { code, ...(status >= 500 && { err: error }) }
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  reply.code(status)
  // Only the log says why the service is unavailable.
  return { status, code, message: isTemporary ? ERRORS[code].message : refusal.message }
}

/** A framework's or database's error reveals only its kind, what could not be read, or which media type to send. */
function toApiError(error: FastifyError, request: FastifyRequest) {
  const code = codeOf(error)
  const [mediaType] = request.routeOptions.schema?.consumes ?? ['application/json']
  const messages: { [Code in ErrorCode]?: string } = {
    bad_request: error.message,
    unsupported_media_type: `send the body as ${mediaType}, uncompressed`
  }
  return new ApiError(code, { message: messages[code] })
}

function codeOf(error: FastifyError): ErrorCode {
  if (isDatabaseUnavailable(error) || isLoginRefused(error)) return 'service_unavailable'
  const reason = STATUS_CODES[error.statusCode ?? 500] as string
  const code = reason.toLowerCase().replaceAll(/[ -]/g, '_')
  return Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal_error'
}
