import fp from 'fastify-plugin'
import { databaseMetrics } from '../metrics.ts'
import { createPool, type Observer } from '../pool.ts'
import { readReplica } from '../replica.ts'
import { createBroadcasts } from '../repository/broadcasts.ts'
import { createRepository, type Repository } from '../repository/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

export interface DatabaseSettings {
  DATABASE_URL: string
  DATABASE_POOLER_URL?: string | undefined
  DATABASE_REPLICA_URL?: string | undefined
}

/** Gives the service its repository, over pools that close with it. */
export default fp<{ config: DatabaseSettings }>(
  async (fastify, { config }) => {
    const { DATABASE_URL, DATABASE_POOLER_URL, DATABASE_REPLICA_URL } = config
    const observer: Observer = {
      answered: (seconds, isOk) => measured.answered(seconds, isOk),
      batched: (size) => measured.batched(size)
    }
    const pool = DATABASE_POOLER_URL
      ? createPool(DATABASE_POOLER_URL, { isPooled: true, observer })
      : createPool(DATABASE_URL, { observer })
    const measured = databaseMetrics(fastify.metrics, pool.load)
    fastify.addHook('onClose', pool.end)
    if (DATABASE_REPLICA_URL === undefined) {
      fastify.decorate('repository', createRepository(pool))
      return
    }

    const replica = createPool(DATABASE_REPLICA_URL, { observer })
    const closing = new AbortController()
    const broadcasts = createBroadcasts(pool)
    const reader = readReplica(
      { pool, from: broadcasts },
      { pool: replica, from: createBroadcasts(replica) },
      closing.signal
    )
    fastify.decorate('repository', createRepository(pool, broadcasts, reader))
    fastify.addHook('onClose', async () => {
      closing.abort()
      await replica.end()
    })
  },
  { name: 'database', dependencies: ['metrics'] }
)
