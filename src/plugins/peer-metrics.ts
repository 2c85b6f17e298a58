import fp from 'fastify-plugin'
import { peerMetrics } from '../metrics.ts'
import { newDeadline } from './deadline.ts'

/** Milliseconds for which a count holds: to count a million peers takes the database a third of a second. */
const MAX_AGE = 60_000

/** Counts the peers when operators ask, at most once a minute. While the database is away there is no count. */
export default fp<{ maxAge?: number }>(
  async (fastify, { maxAge = MAX_AGE }) => {
    const { repository, log, metrics } = fastify
    let known: ReturnType<typeof count> | undefined
    let earliest = 0

    peerMetrics(metrics, async () => {
      if (!known || performance.now() >= earliest) {
        earliest = performance.now() + maxAge
        known = count()
      }
      return known
    })

    async function count() {
      try {
        return await repository.count(newDeadline())
      } catch (err) {
        log.warn({ err }, 'peers are counted later')
        earliest = 0
        return undefined
      }
    }
  },
  { name: 'peer-metrics', dependencies: ['metrics', 'database'] }
)
