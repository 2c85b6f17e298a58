import fp from 'fastify-plugin'
import { newDeadline } from '../http/deadline.ts'
import { peerMetrics } from '../observability/metrics.ts'

/** Milliseconds for which a count is reused: a million peers take a third of a second. */
const MAX_AGE = 60_000

/** Counts the peers when metrics are read, at most once a minute. Without the database there is no count. */
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
        return await repository.list.count(newDeadline())
      } catch (err) {
        log.warn({ err }, 'peers not counted; their metrics are missing until the next scrape')
        earliest = 0
        return undefined
      }
    }
  },
  { name: 'peer-metrics', dependencies: ['metrics', 'repository'] }
)
