import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { REQUEST_ID_HEADER } from '../runtime/request-id.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** For the log: of the registered client that called, or became one. */
    clientId: string | undefined
    /** Why it was refused, as the caller was told; what went wrong is there when it is our fault. */
    refusal: { code: string; err?: Error } | undefined
    /** Is told how the request ended, and how many seconds it took; for a plugin that wants to know. */
    ended?: (status: number, seconds: number) => void
  }
}

/** Characters of a path. */
const MAX_PATH = 200

/** Writes one line for each request, when its answer was sent or the caller has hung up, and tells every caller the request's id. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('clientId')
    fastify.decorateRequest('refusal')
    fastify.addHook('onRequest', (request, reply, next) => {
      follow(request, reply)
      next()
    })
  },
  { name: 'request-log' }
)

/** Also for what fails before there are hooks. */
export function follow(request: FastifyRequest, { raw }: FastifyReply) {
  raw.setHeader(REQUEST_ID_HEADER, request.id)
  const began = performance.now()
  const { ip } = request // is unknown when the connection is closed
  raw.once('close', () => {
    const { method, clientId, fingerprint, refusal, log } = request
    const status = raw.headersSent ? raw.statusCode : 499 // without an answer, because the caller hung up: as in nginx's logs
    const duration = performance.now() - began
    request.ended?.(status, duration / 1000)
    const { url: route } = request.routeOptions
    const line = {
      method,
      route,
      // Without its query, which may be somebody's address.
      path: route === undefined ? request.url.split('?', 1)[0]?.slice(0, MAX_PATH) : undefined,
      status,
      durationMs: Math.round(duration * 1000) / 1000,
      ip,
      clientId,
      fingerprint,
      ...refusal
    }
    const message = raw.writableFinished ? 'request completed' : 'request broken off'
    if (status >= 500) log.error(line, message)
    else log.info(line, message)
  })
}
