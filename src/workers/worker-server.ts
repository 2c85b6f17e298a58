import Fastify, { type FastifyInstance } from 'fastify'
import managementServer from '../management/management-server.ts'
import metrics from '../observability/metrics.ts'
import repository from '../repository.ts'
import type { Config } from '../runtime/config.ts'
import { serve } from '../runtime/lifecycle.ts'
import { logOptions } from '../runtime/log-options.ts'

/**
 * Runs a worker, which serves only operators.
 *
 * @param portVariable the environment variable with its port
 * @param addWork registers the plugin that does the work
 */
export async function serveWorker(
  config: Config,
  portVariable: 'CLEANUP_PORT' | 'MAILER_PORT',
  addWork: (fastify: FastifyInstance) => void
): Promise<void> {
  const fastify = Fastify(logOptions(config))
  fastify.register(metrics)
  fastify.register(repository, { config })
  fastify.register(managementServer, { config })
  addWork(fastify)
  await serve(fastify, config.INTERNAL_HOST, config[portVariable], portVariable)
}
