import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** Aborts when the caller has waited long enough; the TimeoutError is answered with 503. */
    deadline: AbortSignal
  }
}

/** Milliseconds: a caller is answered within 3 s. */
const TIMEOUT = 2500
/** Milliseconds. Deadlines within one interval share a timer: one for each request would cost as much as a query. */
const INTERVAL = 50

/**
 * Gives every request a deadline. Fastify's `handlerTimeout` cannot: once the body has been read, its timer is gone and
 * `request.signal` has aborted (https://github.com/fastify/fastify/pull/7033).
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
    // The time that a body takes to arrive does not count; `requestTimeout` limits it.
    fastify.addHook('preParsing', (request, reply, _, next) => {
      request.setDecorator(elapsed, reply.elapsedTime)
      next()
    })
    fastify.addHook('preValidation', (request, _, next) => {
      if (request.body) request.deadline = deadlineIn(TIMEOUT - request.getDecorator<number>(elapsed))
      next()
    })
  },
  { name: 'deadline' }
)

/** A deadline for one part of a longer answer, such as a page of a list. */
export function newDeadline(): AbortSignal {
  return deadlineIn(TIMEOUT)
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
