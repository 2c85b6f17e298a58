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

    fastify.setErrorHandler(answer)

    fastify.setNotFoundHandler((request, reply) => {
      const allowed = methods.get(request.url.split('?', 1)[0] as string)
      if (!allowed) throw new ApiError('not_found')
      reply.header('allow', allowed.join(', '))
      throw new ApiError('method_not_allowed', { message: `use ${allowed.join(' or ')} here` })
    })
  },
  { name: 'error-handler', dependencies: ['request-log'] }
)

/** The error handler, also for requests that fail before a route is found. */
export function answer(error: FastifyError | ApiError, request: FastifyRequest, reply: FastifyReply) {
  const { code, message } = refuse(error, request, reply)
  return reply.send({ error: message, code })
}

/** Keeps an error for the log, sets the reply's status and headers, and returns what to tell the caller. */
export function refuse(error: FastifyError | ApiError, request: FastifyRequest, reply: FastifyReply) {
  const { status, code, message, retryAfter } = describe(error, request)
  request.refusal = { code, ...(status >= 500 && { err: error }) }
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  reply.code(status)
  return { status, code, message }
}

/** An ApiError says what it is about; of any other error, the caller learns only the kind. */
function describe(error: FastifyError | ApiError, request: FastifyRequest) {
  const code = codeOf(error)
  // The reason is for the log alone.
  if (code === 'service_unavailable') return { ...ERRORS[code], code, retryAfter: RETRY_AFTER }
  if (error instanceof ApiError)
    return { status: statusOf(error), code, message: error.message, retryAfter: error.retryAfter }
  const { status, message } = ERRORS[code as ErrorCode]
  return { status, code, message: moreThan(message, error, status, request), retryAfter: undefined }
}

function codeOf(error: FastifyError | ApiError): ApiError['code'] {
  if (error instanceof ApiError) return error.code
  if (isDatabaseUnavailable(error) || isLoginRefused(error)) return 'service_unavailable'
  const reason = STATUS_CODES[error.statusCode ?? 500] as string
  const code = reason.toLowerCase().replaceAll(/[ -]/g, '_')
  return Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal_error'
}

/** Fastify knows what could not be read, and a route what it reads. */
function moreThan(message: string, error: Error, status: number, request: FastifyRequest) {
  if (status === ERRORS.bad_request.status) return error.message
  if (status !== ERRORS.unsupported_media_type.status) return message
  const [mediaType] = request.routeOptions.schema?.consumes ?? ['application/json']
  return `send the body as ${mediaType}, uncompressed`
}
