import { Cron } from 'croner'
import type { FastifyBaseLogger } from 'fastify'
import fp from 'fastify-plugin'
import { cleanupMetrics } from '../observability/metrics.ts'
import type { Repository } from '../repository.ts'

/** Rows deleted by one statement, which takes milliseconds. */
const BATCH_SIZE = 1000

/** Deletes expired rows on a schedule. The next run makes up for one that failed. */
export default fp<{ schedule: string }>(
  async (fastify, { schedule }) => {
    const { repository, log } = fastify
    const runs = cleanupMetrics(fastify.metrics)
    let run = Promise.resolve()
    const job = new Cron(schedule, { protect: true, paused: true }, () => {
      const began = performance.now()
      run = cleanUp(repository, log).then(
        (deleted) => {
          if (deleted) runs.succeeded((performance.now() - began) / 1000, deleted)
          else runs.skipped()
        },
        (err) => {
          log.error({ err }, 'cleanup failed, the next run deletes what is left; peers do not notice')
          runs.failed()
        }
      )
      return run
    })
    fastify.addHook('onReady', async () => {
      job.resume()
      log.info({ schedule, next: job.nextRun() }, 'cleanup scheduled')
    })
    fastify.addHook('preClose', async () => {
      job.stop()
      await run
    })
  },
  { name: 'cleanup', dependencies: ['repository', 'metrics'] }
)

/** Deletes expired rows, and returns how many of each kind; undefined if another worker is doing so. */
export async function cleanUp(
  { broadcasts, pendingRegistrations }: Repository,
  log: FastifyBaseLogger
): Promise<Record<string, number> | undefined> {
  const deleted = await inBatches(broadcasts.deleteExpired)
  if (deleted === undefined) {
    log.info('cleanup skipped: another worker is running it')
    return undefined
  }
  log.info({ deleted }, 'expired broadcasts deleted')
  const unconfirmed = await inBatches(pendingRegistrations.deleteExpired)
  if (unconfirmed) log.info({ deleted: unconfirmed }, 'expired registrations deleted')
  const mailCounts = await inBatches(pendingRegistrations.deleteMailCounts)
  return { broadcasts: deleted, registrations: unconfirmed, mail_counts: mailCounts }
}

async function inBatches<Count extends number | undefined>(
  deleteSome: (limit: number) => Promise<Count>
): Promise<Count> {
  let total = 0
  for (;;) {
    const deleted = await deleteSome(BATCH_SIZE)
    if (deleted === undefined) return deleted
    total += deleted
    if (deleted < BATCH_SIZE) return total as Count
  }
}
