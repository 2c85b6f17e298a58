import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ApiError } from '../runtime/error-catalogue.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** No longer counts it among the requests under way: what goes on costs next to nothing. */
    stopCounting: () => void
  }
}

/** Requests under way at once: what the database's connections serve well within a second, or else nobody would be served. */
export const MAX_REQUESTS = 200

/** Refuses at once what is more than that: a queue that only grows is one in which everybody waits in vain. */
export default fp(
  async (fastify) => {
    const { hook, stopCounting } = limitTo(MAX_REQUESTS)
    fastify.decorateRequest('stopCounting', function () {
      stopCounting(this)
    })
    fastify.addHook('onRequest', hook)
  },
  { name: 'overload' }
)

/**
 * An `onRequest` hook that lets at most `max` requests through at once, and a function that frees a request's place before it has ended.
 *
 * @throws 503 for one more
 */
export function limitTo(max: number) {
  let underWay = 0
  const counted = new WeakSet<FastifyRequest>()
  const stopCounting = (request: FastifyRequest) => {
    if (counted.delete(request)) underWay--
  }
  const hook = (request: FastifyRequest, { raw }: FastifyReply, next: (error?: Error) => void) => {
    if (underWay === max)
      return next(new ApiError('service_unavailable', { message: 'too many requests are in flight' }))
    underWay++
    counted.add(request)
    raw.once('close', () => stopCounting(request))
    next()
  }
  return { hook, stopCounting }
}
