import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** Aborts, with a TimeoutError that is answered as 503, when the caller has waited for the database long enough. */
    deadline: AbortSignal
  }
}

/** Milliseconds, so that the caller has its answer within 3 s. */
const PATIENCE = 2500
/** Milliseconds: those whose time ends in the same interval share a timer, for one for each would cost as much as a query. */
const INTERVAL = 50

/**
 * Gives every request its deadline. Fastify's `handlerTimeout` is not used: it forgets its timer, and `request.signal`
 * aborts, as soon as a request's body was read (https://github.com/fastify/fastify/pull/7033).
 */
export default fp(
  async (fastify) => {
    const elapsed = Symbol('elapsed')
    fastify.decorateRequest('deadline')
    fastify.decorateRequest(elapsed, 0)
    fastify.addHook('onRequest', (request, _, next) => {
      request.deadline = newDeadline()
      next()
    })
    // A body that takes its time to arrive is limited elsewhere.
    fastify.addHook('preParsing', (request, reply, _, next) => {
      request.setDecorator(elapsed, reply.elapsedTime)
      next()
    })
    fastify.addHook('preValidation', (request, _, next) => {
      if (request.body) request.deadline = deadlineIn(PATIENCE - request.getDecorator<number>(elapsed))
      next()
    })
  },
  { name: 'deadline' }
)

/** For a part of an answer that may take longer as a whole, such as a page of a list. */
export function newDeadline(): AbortSignal {
  return deadlineIn(PATIENCE)
}

const deadlines = new Map<number, AbortSignal>()

function deadlineIn(milliseconds: number) {
  const now = performance.now()
  const end = Math.ceil((now + Math.max(0, milliseconds)) / INTERVAL) * INTERVAL
  const known = deadlines.get(end)
  if (known) return known
  const controller = new AbortController()
  const abort = () => {
    deadlines.delete(end)
    controller.abort(new DOMException('the deadline has passed', 'TimeoutError'))
  }
  setTimeout(abort, end - now).unref()
  deadlines.set(end, controller.signal)
  return controller.signal
}
