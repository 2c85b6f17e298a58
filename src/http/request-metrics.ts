import fp from 'fastify-plugin'
import { requestMetrics } from '../observability/metrics.ts'

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
    fastify.decorateRequest('ended', function (status, seconds) {
      calls.answered(this.method, this.routeOptions.url ?? UNMATCHED, status, seconds)
      const { code } = this.refusal ?? {}
      if (code && (status === 401 || code === 'email_unverified')) calls.notAuthenticated(code)
    })
  },
  { name: 'request-metrics', dependencies: ['metrics', 'request-log'] }
)
