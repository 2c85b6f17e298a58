import { parseArgs } from 'node:util'
import Fastify from 'fastify'
import metrics from '../observability/metrics.ts'
import repository from '../repository.ts'
import { type Config, loadConfig } from '../runtime/config.ts'
import { logOptions, logStart } from '../runtime/log-options.ts'
import { run } from '../runtime/main-function.ts'
import cleanup, { cleanUp } from '../workers/expiry-cleanup.ts'
import { serveWorker } from '../workers/worker-server.ts'

/** `npm run cleanup`: deletes what has expired, on a schedule, or with `--once` just once. */
await run(async () => {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  const config = await loadConfig()
  if (values.once) return cleanUpOnce(config)
  await serveWorker(config, 'CLEANUP_PORT', (fastify) => {
    fastify.register(cleanup, { schedule: config.CLEANUP_SCHEDULE })
  })
})

async function cleanUpOnce(config: Config) {
  const fastify = Fastify(logOptions(config))
  logStart(fastify.log)
  await fastify.register(metrics)
  await fastify.register(repository, { config })
  await cleanUp(fastify.repository, fastify.log).finally(() => fastify.close())
}
