import fp from 'fastify-plugin'
import { peerMetrics } from '../metrics.ts'
import { newDeadline } from './deadline.ts'

/** Milliseconds for which a count holds: to count a million peers takes the database a third of a second. */
const MAX_AGE = 60_000

/** Counts the peers when operators ask, at most once a minute. While the database is away there is no count. */
export default fp<{ maxAge?: number }>(
  async (fastify, { maxAge = MAX_AGE }) => {
    const { repository, log, metrics } = fastify
    let known: Promise<{ registered: number; online: number }> | undefined
    let earliest = 0

    peerMetrics(metrics, async () => {
      if (!known || performance.now() >= earliest) {
        earliest = performance.now() + maxAge
        known = repository.count(newDeadline())
      }
      try {
        return await known
      } catch (err) {
        known = undefined
        log.warn({ err }, 'peers are counted later')
        return undefined
      }
    })
  },
  { name: 'peer-metrics', dependencies: ['metrics', 'database'] }
)
