import type { Fragment, Sql } from './postgres-driver.ts'

/** Milliseconds between queries. */
const INTERVAL = 1000

/** Describes a session of pg_stat_activity in words, without the start of its transaction if the role may not see that. */
export function describeSession(sql: Sql): Fragment {
  return sql`format('process %s (role %s, application %s) has been in a transaction %s',
    pid, usename, application_name, coalesce('since ' || xact_start::timestamptz(0), 'for a while'))`
}

/**
 * Keeps track of who holds the locks that a session waits for: PostgreSQL knows only while it waits.
 *
 * @param pid the session's process
 */
export function watchBlockers(sql: Sql, pid: number) {
  let blockers: string[] = []
  async function look() {
    const found = await sql<{ session: string }[]>`
      select ${describeSession(sql)} as session
      from unnest(pg_blocking_pids(${pid})) pid join pg_stat_activity using (pid)`
    if (found.length > 0) blockers = found.map(({ session }) => session)
  }

  // The migration does not depend on this.
  const timer = setInterval(() => look().catch(() => {}), INTERVAL)
  return {
    /** Adds who held the lock to the error of a wait that was too long, if anybody was seen. */
    explain(error: unknown): unknown {
      if (blockers.length === 0) return error
      const remedy =
        'try again when that is over, or after a superuser has ended it with select pg_terminate_backend(process)'
      return new Error(`${(error as Error).message}: ${blockers.join('; ')}; ${remedy}`, { cause: error })
    },
    stop: () => clearInterval(timer)
  }
}
