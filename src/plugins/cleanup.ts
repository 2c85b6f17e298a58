import { Cron } from 'croner'
import type { FastifyBaseLogger } from 'fastify'
import fp from 'fastify-plugin'
import type { Repository } from '../repository.ts'

/** Rows a statement deletes: few enough to be done in milliseconds. */
const BATCH_SIZE = 1000

/** Deletes expired broadcasts on a schedule for as long as the server runs. What fails is tried again at the next time. */
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

/** Deletes all broadcasts that have expired, batch by batch, and logs how many. */
export async function cleanUp(repository: Repository, log: FastifyBaseLogger): Promise<void> {
  let total = 0
  let deleted: number | undefined
  do {
    deleted = await repository.deleteExpired(BATCH_SIZE)
    total += deleted ?? 0
  } while (deleted === BATCH_SIZE)
  if (deleted === undefined) log.info('cleanup left to another worker that is at it')
  else log.info({ deleted: total }, 'expired broadcasts deleted')
}
