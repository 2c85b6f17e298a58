import type { Pool } from '../pool.ts'
import { type Reader, readPrimary } from '../replica.ts'
import { type Broadcasts, createBroadcasts } from './broadcasts.ts'
import { createCertificates } from './certificates.ts'
import { createClients } from './clients.ts'
import { createRegistrations } from './registrations.ts'

/** Pages of 8 KB that are read of a table to tell how many rows it has: of a table for 100,000 peers all. */
const SAMPLE = 4000

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

    /**
     * How many peers are registered, and how many of them are online: exactly for up to some 100,000, else from a sample, within about a
     * percent. To count a million takes the database up to six seconds while they announce.
     */
    async count(signal?: AbortSignal): Promise<{ registered: number; online: number }> {
      const { persistently, sql } = pool
      const pages = (table: string) => sql`pg_relation_size(${table}) / current_setting('block_size')::integer`
      const share = (table: string) => sql`least(1.0, ${SAMPLE}::real / greatest(1, ${pages(table)}))`
      // The same pages each time, so that a curve of it is smooth.
      const sample = (table: string) => sql`${sql(table)} tablesample system (100 * ${share(table)}) repeatable (0)`
      const [counted] = await persistently<[{ registered: number; online: number }]>(signal)`
        select
          (select round(count(*) / ${share('clients')}) from ${sample('clients')})::float8 as registered,
          (select round(count(*) / ${share('broadcasts')}) from ${sample('broadcasts')} where expires_at > now())::float8 as online`
      return counted
    },
    clients: createClients(pool),
    registrations: createRegistrations(pool),
    certificates: createCertificates(pool),
    broadcasts,
    /** The same, for what may be some seconds old. */
    recent: reader
  }
}
