import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from './config.ts'
import hostCheck from './management/host-check.ts'
import deadline from './plugins/deadline.ts'
import errorHandler from './plugins/error-handler.ts'
import requestLog from './plugins/request-log.ts'
import health from './routes/health.ts'
import metrics from './routes/metrics.ts'

/** What operators ask a process, whichever it is. No edge passes anything on to it, and no web page can reach it. */
async function internal(fastify: FastifyInstance, { config }: { config: Pick<Config, 'INTERNAL_HOSTS'> }) {
  fastify.register(requestLog)
  fastify.register(errorHandler)
  fastify.register(hostCheck, { names: config.INTERNAL_HOSTS })
  fastify.register(deadline)
  fastify.register(health)
  fastify.register(metrics)
}

export default fp(internal, { name: 'internal', decorators: { fastify: ['repository', 'metrics'] } })
