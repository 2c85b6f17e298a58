import fp from 'fastify-plugin'
import { requestMetrics } from '../metrics.ts'
import { statusOf } from './request-log.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts what became of the peers' calls. */
    calls: ReturnType<typeof requestMetrics>
  }
}

/** Of what is at no address, which would be as many routes as anybody likes. */
const UNMATCHED = 'unmatched'

/** Measures every request. */
export default fp(
  async (fastify) => {
    const calls = requestMetrics(fastify.metrics)
    fastify.decorate('calls', calls)
    fastify.addHook('onRequest', (request, reply, next) => {
      const began = performance.now()
      reply.raw.once('close', () => {
        const status = statusOf(reply.raw)
        const seconds = (performance.now() - began) / 1000
        calls.answered(request.method, request.routeOptions.url ?? UNMATCHED, status, seconds)
        const { code } = request.refusal ?? {}
        if (code && (status === 401 || code === 'email_unverified')) calls.notAuthenticated(code)
      })
      next()
    })
  },
  { name: 'request-metrics', dependencies: ['metrics', 'request-log'] }
)
