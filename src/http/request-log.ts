import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { REQUEST_ID_HEADER } from '../runtime/request-id.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** For the log: the id of the client that called or registered. */
    clientId: string | undefined
    /** How the request was refused; with the error itself if it is our fault. */
    refusal: { code: string; err?: Error } | undefined
    /** Called with the status and the duration when the request has ended. */
    onEnd?: (status: number, seconds: number) => void
  }
}

/** Characters of a path that are logged. */
const MAX_PATH = 200

/** Logs one line for each request, when it is answered or the caller has hung up, and returns the request's id to the caller. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('clientId')
    fastify.decorateRequest('refusal')
    fastify.addHook('onRequest', (request, reply, next) => {
      logRequest(request, reply)
      next()
    })
  },
  { name: 'request-log' }
)

/** The hook; also for requests that fail before hooks run. */
export function logRequest(request: FastifyRequest, { raw }: FastifyReply) {
  raw.setHeader(REQUEST_ID_HEADER, request.id)
  const began = performance.now()
  const { ip } = request // unknown once the connection is closed
  raw.once('close', () => {
    const { method, clientId, fingerprint, refusal, log } = request
    const status = raw.headersSent ? raw.statusCode : 499 // the caller hung up, as in nginx's logs
    const duration = performance.now() - began
    request.onEnd?.(status, duration / 1000)
    const { url: route } = request.routeOptions
    const line = {
      method,
      route,
      // Without the query, which may hold an e-mail address.
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
