import Fastify, { type FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import internal from './internal.ts'
import { logOptions } from './log.ts'
import database from './plugins/database.ts'
import metrics from './plugins/metrics.ts'
import { serve } from './process.ts'

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
  fastify.register(database, { config: { ...config, DATABASE_REPLICA_URL: undefined } })
  fastify.register(internal, { config })
  addWork(fastify)
  await serve(fastify, config.INTERNAL_HOST, config[portVariable], portVariable)
}
