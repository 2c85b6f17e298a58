import fp from 'fastify-plugin'
import { databaseMetrics } from '../metrics.ts'
import { createPool } from '../pool.ts'
import { createRepository, type Repository } from '../repository/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

/** Gives the service its repository, over a pool that closes with it. */
export default fp<{ url: string }>(
  async (fastify, { url }) => {
    const pool = createPool(url, {
      answered: (seconds, isOk) => measured.answered(seconds, isOk),
      batched: (size) => measured.batched(size)
    })
    const measured = databaseMetrics(fastify.metrics, pool.load)
    fastify.decorate('repository', createRepository(pool))
    fastify.addHook('onClose', pool.end)
  },
  { name: 'database', dependencies: ['metrics'] }
)
