import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ApiError } from '../runtime/error-catalogue.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Stops counting this request as in flight: the rest of it costs next to nothing. */
    stopCounting: () => void
  }
}

/** Requests in flight at once: as many as the database's connections can serve well within a second. */
export const MAX_REQUESTS = 200

/** Refuses further requests at once: in a queue that only grows, everybody waits in vain. */
export default fp(
  async (fastify) => {
    const { admit, refuseWhenFull, stopCounting } = limitInFlight(MAX_REQUESTS)
    fastify.decorateRequest('stopCounting', function () {
      stopCounting(this)
    })
    fastify.addHook('onRequest', refuseWhenFull)
    // Counted once the body has arrived, so that bodies that never arrive cannot take all places.
    fastify.addHook('preValidation', admit)
  },
  { name: 'load-shedding' }
)

/**
 * Two hooks that answer `service_unavailable` while `max` requests are in flight: `admit` also counts the request, until it ends or
 * `stopCounting` is called.
 */
export function limitInFlight(max: number) {
  let inFlight = 0
  const counted = new WeakSet<FastifyRequest>()
  const stopCounting = (request: FastifyRequest) => {
    if (counted.delete(request)) inFlight--
  }
  const refuseWhenFull = (_: FastifyRequest, __: FastifyReply, next: (error?: Error) => void) => {
    if (inFlight < max) return next()
    next(new ApiError('service_unavailable', { message: 'too many requests are in flight' }))
  }
  const admit = (request: FastifyRequest, reply: FastifyReply, next: (error?: Error) => void) => {
    if (inFlight === max) return refuseWhenFull(request, reply, next)
    inFlight++
    counted.add(request)
    reply.raw.once('close', () => stopCounting(request))
    next()
  }
  return { admit, refuseWhenFull, stopCounting }
}
