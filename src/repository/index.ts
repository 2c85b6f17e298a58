import type { Pool } from '../pool.ts'
import { type Reader, readPrimary } from '../replica.ts'
import { type Broadcasts, createBroadcasts } from './broadcasts.ts'
import { createCertificates } from './certificates.ts'
import { createClients } from './clients.ts'
import { createRegistrations } from './registrations.ts'

export type Repository = ReturnType<typeof createRepository>

/**
 * Every statement that the service makes. Each is one round trip, and the database's clock alone decides what is expired.
 * What nobody waits for any more, as `signal` tells, is not begun.
 */
export function createRepository(
  pool: Pool,
  broadcasts: Broadcasts = createBroadcasts(pool),
  reader: Reader<Broadcasts> = readPrimary(broadcasts)
) {
  return {
    /** Fails when the database is away or was never migrated. */
    async ping(signal?: AbortSignal) {
      // None is read: after a cleanup the first one may lie behind many that are gone.
      await pool.persistently(signal)`select from broadcasts limit 0`
    },
    clients: createClients(pool),
    registrations: createRegistrations(pool),
    certificates: createCertificates(pool),
    broadcasts,
    /** The same, for what may be some seconds old. */
    recent: reader
  }
}
