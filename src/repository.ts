import fp from 'fastify-plugin'
import { createClients } from './identity/clients.repository.ts'
import { createRotations } from './identity/rotation.repository.ts'
import { createPendingRegistrations } from './identity/verification/pending-registrations.repository.ts'
import { databaseMetrics } from './observability/metrics.ts'
import { createPool, type Observer, type Pool } from './postgres/pool.ts'
import { createBroadcasts } from './presence/broadcasts.repository.ts'
import { createList } from './presence/list.repository.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

export interface DatabaseSettings {
  DATABASE_URL: string
  DATABASE_POOLER_URL?: string | undefined
}

/** Gives the service its repository, over a pool that closes with it. */
export default fp<{ config: DatabaseSettings }>(
  async (fastify, { config: { DATABASE_URL, DATABASE_POOLER_URL } }) => {
    const observer: Observer = {
      answered: (seconds, isOk) => measured.answered(seconds, isOk),
      batched: (size) => measured.batched(size)
    }
    const pool = DATABASE_POOLER_URL
      ? createPool(DATABASE_POOLER_URL, { isPooled: true, observer })
      : createPool(DATABASE_URL, { observer })
    const measured = databaseMetrics(fastify.metrics, pool.load)
    fastify.decorate('repository', createRepository(pool))
    fastify.addHook('onClose', pool.end)
  },
  { name: 'repository', dependencies: ['metrics'] }
)

export type Repository = ReturnType<typeof createRepository>

/**
 * Every statement that the service makes. Each is one round trip, and only the database's clock decides what has expired. A statement
 * whose caller has left, as `signal` tells, is not begun.
 */
export function createRepository(pool: Pool) {
  return {
    /** @throws when the database is unavailable or was never migrated */
    async ping(signal?: AbortSignal) {
      // No row is read: after a cleanup, the first one may lie behind many deleted ones.
      await pool.queryIdempotent(signal)`select from broadcasts limit 0`
    },
    clients: createClients(pool),
    rotations: createRotations(pool),
    pendingRegistrations: createPendingRegistrations(pool),
    broadcasts: createBroadcasts(pool),
    list: createList(pool)
  }
}
