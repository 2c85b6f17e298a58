import { parseArgs } from 'node:util'
import Fastify from 'fastify'
import { type Config, loadConfig } from './config.ts'
import { logOptions, logStart } from './log.ts'
import cleanup, { cleanUp } from './plugins/cleanup.ts'
import database from './plugins/database.ts'
import metrics from './plugins/metrics.ts'
import { run } from './process.ts'
import { serveWorker } from './worker.ts'

/** `npm run cleanup`: the worker; with `--once` it cleans up once and ends. */
await run(async () => {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  const config = await loadConfig()
  if (values.once) return once(config)
  await serveWorker(config, 'CLEANUP_PORT', (fastify) => {
    fastify.register(cleanup, { schedule: config.CLEANUP_SCHEDULE })
  })
})

async function once(config: Config) {
  const fastify = Fastify(logOptions(config))
  logStart(fastify.log)
  await fastify.register(metrics)
  await fastify.register(database, { config: { ...config, DATABASE_REPLICA_URL: undefined } })
  await cleanUp(fastify.repository, fastify.log).finally(() => fastify.close())
}
