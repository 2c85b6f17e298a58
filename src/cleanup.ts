import { parseArgs } from 'node:util'
import Fastify from 'fastify'
import { type Config, loadConfig } from './config.ts'
import cleanup, { cleanUp } from './plugins/cleanup.ts'
import database from './plugins/database.ts'
import deadline from './plugins/deadline.ts'
import errorHandler from './plugins/error-handler.ts'
import { run, serve } from './process.ts'
import health from './routes/health.ts'
import { loggerOptions } from './server-options.ts'

/** `npm run cleanup`: the worker; with `--once` it cleans up once and ends. */
await run(async () => {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  const config = await loadConfig()
  await (values.once ? once(config) : worker(config))
})

async function worker(config: Config) {
  const fastify = Fastify({ logger: loggerOptions(config) })
  fastify.register(errorHandler)
  fastify.register(deadline)
  fastify.register(database, { url: config.DATABASE_URL })
  fastify.register(cleanup, { schedule: config.CLEANUP_SCHEDULE })
  fastify.register(health)
  await serve(fastify, config.HOST, config.CLEANUP_PORT, 'CLEANUP_PORT')
}

async function once(config: Config) {
  const fastify = Fastify({ logger: loggerOptions(config) })
  await fastify.register(database, { url: config.DATABASE_URL })
  await cleanUp(fastify.repository, fastify.log).finally(() => fastify.close())
}
