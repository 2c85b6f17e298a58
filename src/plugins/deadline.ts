import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** Aborts, with a TimeoutError that is answered as 503, when the caller has waited for the database long enough. */
    deadline: AbortSignal
  }
}

/** Milliseconds, so that the caller has its answer within 3 s. */
const PATIENCE = 2500

/**
 * Gives every request its deadline. Fastify's `handlerTimeout` is not used: it forgets its timer, and `request.signal`
 * aborts, as soon as a request's body was read (https://github.com/fastify/fastify/pull/7033).
 */
export default fp(
  async (fastify) => {
    const elapsed = Symbol('elapsed')
    fastify.decorateRequest('deadline')
    fastify.decorateRequest(elapsed, 0)
    fastify.addHook('onRequest', async (request) => {
      request.deadline = AbortSignal.timeout(PATIENCE)
    })
    // A body that takes its time to arrive is limited elsewhere.
    fastify.addHook('preParsing', async (request, reply) => {
      request.setDecorator(elapsed, reply.elapsedTime)
    })
    fastify.addHook('preValidation', async (request) => {
      if (!request.body) return
      const left = PATIENCE - Math.ceil(request.getDecorator<number>(elapsed))
      request.deadline = AbortSignal.timeout(Math.max(0, left))
    })
  },
  { name: 'deadline' }
)
