import Fastify, { type FastifyInstance } from 'fastify'
import managementServer from '../management/management-server.ts'
import metrics from '../observability/metrics-registry.ts'
import repository from '../repository.ts'
import type { Config } from '../runtime/config.ts'
import { serve } from '../runtime/lifecycle.ts'
import { logOptions } from '../runtime/log-options.ts'

/**
 * Runs a process that works by itself, beside the API, and serves operators alone.
 *
 * @param portVariable the environment variable that says where
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
