import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isDatabaseAway } from '../database.ts'
import { problem } from '../errors.ts'

/** Seconds after which to try again what failed for a reason that passes. */
const RETRY_AFTER = 2

/** Answers every error as the contract has it: `{"error": …, "code": …}`. */
export default fp(
  async (fastify) => {
    const methods = new Map<string, string[]>()
    fastify.addHook('onRoute', ({ method, url }) => {
      methods.set(url, [...(methods.get(url) ?? []), method].flat())
    })

    fastify.setErrorHandler(answer)

    fastify.setNotFoundHandler((request, reply) => {
      const allowed = methods.get(request.url.split('?', 1)[0] as string)
      if (!allowed) throw problem(404, 'not_found', 'there is nothing at this address')
      reply.header('allow', allowed.join(', '))
      throw problem(405, 'method_not_allowed', `use ${allowed.join(' or ')} here`)
    })
  },
  { name: 'error-handler', dependencies: ['request-log'] }
)

/** The error handler, also for what fails before a route is found. */
export function answer(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const { code, message } = refuse(error, request, reply)
  return reply.send({ error: message, code })
}

/** Notes an error for the log, sets the reply's status and headers, and returns what to tell the caller. */
export function refuse(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const refusal = describe(error, request)
  request.refusal = { code: refusal.code, ...(refusal.status >= 500 && { err: error }) }
  if (refusal.status === 503) reply.header('retry-after', RETRY_AFTER)
  reply.code(refusal.status)
  return refusal
}

function describe(error: FastifyError, request: FastifyRequest): { status: number; code: string; message: string } {
  const status = isDatabaseAway(error) ? 503 : (error.statusCode ?? 500)
  if (status === 503)
    return { status, code: 'service_unavailable', message: 'the service is unavailable, try again soon' }
  if (status >= 500) return { status: 500, code: 'internal_error', message: 'something went wrong on our side' }
  if (status === 415) {
    const [mediaType] = request.routeOptions.schema?.consumes ?? ['application/json']
    return { status, code: 'unsupported_media_type', message: `send the body as ${mediaType}, uncompressed` }
  }
  // The contract's own errors have a code in snake_case, Fastify's one in capitals.
  const isOwn = /^[a-z_]+$/.test(error.code)
  return { status, code: isOwn ? error.code : defaultCode(status), message: error.message }
}

function defaultCode(status: number) {
  return (STATUS_CODES[status] as string).toLowerCase().replaceAll(/[ -]/g, '_')
}
