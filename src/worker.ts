import Fastify, { type FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { logOptions } from './log.ts'
import database from './plugins/database.ts'
import deadline from './plugins/deadline.ts'
import errorHandler from './plugins/error-handler.ts'
import { serve } from './process.ts'
import health from './routes/health.ts'

/**
 * Runs a process that works by itself, beside the API, and serves no more than its health.
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
  fastify.register(errorHandler)
  fastify.register(deadline)
  fastify.register(database, { url: config.DATABASE_URL })
  addWork(fastify)
  fastify.register(health)
  await serve(fastify, config.HOST, config[portVariable], portVariable)
}
