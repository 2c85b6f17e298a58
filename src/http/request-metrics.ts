import fp from 'fastify-plugin'
import { requestMetrics } from '../observability/metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts the outcomes of calls. */
    calls: ReturnType<typeof requestMetrics>
  }
}

/** One name for all paths without a route: callers could make up any number. */
const UNMATCHED = 'unmatched'

/** Measures every request. */
export default fp(
  async (fastify) => {
    const calls = requestMetrics(fastify.metrics)
    fastify.decorate('calls', calls)
    fastify.decorateRequest('onEnd', function (status, seconds) {
      calls.answered(this.method, this.routeOptions.url ?? UNMATCHED, status, seconds)
      const { code } = this.refusal ?? {}
      if (code && (status === 401 || code === 'email_unverified')) calls.notAuthenticated(code)
    })
  },
  { name: 'request-metrics', dependencies: ['metrics', 'request-log'] }
)
