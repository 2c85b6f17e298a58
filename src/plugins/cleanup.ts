import { Cron } from 'croner'
import type { FastifyBaseLogger } from 'fastify'
import fp from 'fastify-plugin'
import type { Repository } from '../repository/index.ts'

/** Rows a statement deletes: few enough to be done in milliseconds. */
const BATCH_SIZE = 1000

/** Deletes what expired on a schedule for as long as the server runs. What fails is tried again at the next time. */
export default fp<{ schedule: string }>(
  async (fastify, { schedule }) => {
    const { repository, log } = fastify
    let run = Promise.resolve()
    const job = new Cron(schedule, { protect: true, paused: true }, () => {
      run = cleanUp(repository, log).then(
        () => {},
        (err) => log.error({ err }, 'cleanup failed')
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
  { name: 'cleanup', dependencies: ['database'] }
)

/** Deletes all broadcasts, pending registrations and counts of mails that have expired, batch by batch, and logs how many. */
export async function cleanUp({ broadcasts, registrations }: Repository, log: FastifyBaseLogger): Promise<void> {
  const deleted = await inBatches(broadcasts.deleteExpired)
  if (deleted === undefined) return log.info('cleanup left to another worker that is at it')
  log.info({ deleted }, 'expired broadcasts deleted')
  const unconfirmed = await inBatches(registrations.deleteExpired)
  if (unconfirmed) log.info({ deleted: unconfirmed }, 'expired registrations deleted')
  await inBatches(registrations.deleteMailCounts)
}

async function inBatches(deleteSome: (limit: number) => Promise<number | undefined>) {
  let total = 0
  for (;;) {
    const deleted = await deleteSome(BATCH_SIZE)
    if (deleted === undefined) return undefined
    total += deleted
    if (deleted < BATCH_SIZE) return total
  }
}
