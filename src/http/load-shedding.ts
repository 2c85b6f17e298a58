import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ApiError } from '../runtime/error-catalogue.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** No longer counts it among the requests in flight: what goes on costs next to nothing. */
    stopCounting: () => void
  }
}

/** Requests in flight at once: what the database's connections serve well within a second, or else nobody would be served. */
export const MAX_REQUESTS = 200

/** Refuses at once what is more than that: a queue that only grows is one in which everybody waits in vain. */
export default fp(
  async (fastify) => {
    const { hook, refuseWhenFull, stopCounting } = limitTo(MAX_REQUESTS)
    fastify.decorateRequest('stopCounting', function () {
      stopCounting(this)
    })
    fastify.addHook('onRequest', refuseWhenFull)
    // Not before its body is there: callers whose bodies never come would take all places.
    fastify.addHook('preValidation', hook)
  },
  { name: 'load-shedding' }
)

/**
 * A hook that lets at most `max` requests through at once, one that only refuses more, and a function that frees a request's place before
 * it has ended.
 *
 * @throws ApiError `service_unavailable` for one more
 */
export function limitTo(max: number) {
  let inFlight = 0
  const counted = new WeakSet<FastifyRequest>()
  const stopCounting = (request: FastifyRequest) => {
    if (counted.delete(request)) inFlight--
  }
  const refuseWhenFull = (_: FastifyRequest, __: FastifyReply, next: (error?: Error) => void) => {
    if (inFlight < max) return next()
    next(new ApiError('service_unavailable', { message: 'too many requests are in flight' }))
  }
  const hook = (request: FastifyRequest, reply: FastifyReply, next: (error?: Error) => void) => {
    if (inFlight === max) return refuseWhenFull(request, reply, next)
    inFlight++
    counted.add(request)
    reply.raw.once('close', () => stopCounting(request))
    next()
  }
  return { hook, refuseWhenFull, stopCounting }
}
