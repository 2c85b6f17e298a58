import fp from 'fastify-plugin'
import { createClients } from './identity/clients.repository.ts'
import { createRotations } from './identity/rotation.repository.ts'
import { createPendingRegistrations } from './identity/verification/pending-registrations.repository.ts'
import { databaseMetrics } from './observability/metrics.ts'
import { createPool, type Pool } from './postgres/pool.ts'
import { createBroadcasts } from './presence/broadcasts.repository.ts'
import { createList } from './presence/list.repository.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

/** The service's repository, with a pool that closes with the server. */
export default fp<{ config: { DATABASE_URL: string; DATABASE_POOLER_URL?: string | undefined } }>(
  async (fastify, { config: { DATABASE_URL, DATABASE_POOLER_URL } }) => {
    const observer = databaseMetrics(fastify.metrics, () => pool.load())
    const pool = createPool(DATABASE_POOLER_URL || DATABASE_URL, { isPooled: Boolean(DATABASE_POOLER_URL), observer })
    fastify.decorate('repository', createRepository(pool))
    fastify.addHook('onClose', pool.end)
  },
  { name: 'repository', dependencies: ['metrics'] }
)

export type Repository = ReturnType<typeof createRepository>

/**
 * Every statement of the service. Each is one round trip, and only the database's clock decides what has expired. Once its `signal` has
 * aborted, a statement is not sent.
 */
export function createRepository(pool: Pool) {
  return {
    /** @throws when the database is unavailable or was never migrated */
    async ping(signal?: AbortSignal) {
      // Even one row could be behind many that a cleanup has deleted.
      await pool.queryIdempotent(signal)`select from broadcasts limit 0`
    },
    clients: createClients(pool),
    rotations: createRotations(pool),
    pendingRegistrations: createPendingRegistrations(pool),
    broadcasts: createBroadcasts(pool),
    list: createList(pool)
  }
}
