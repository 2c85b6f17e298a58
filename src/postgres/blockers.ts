import type { Fragment, Sql } from './postgres-client.ts'

/** Milliseconds. */
const INTERVAL = 1000

/** A session of pg_stat_activity, for people. Who may not see when others' transactions began is not told. */
export function describeSession(sql: Sql): Fragment {
  return sql`format('process %s (role %s, application %s) has been in a transaction %s',
    pid, usename, application_name, coalesce('since ' || xact_start::timestamptz(0), 'for a while'))`
}

/**
 * Looks who has the locks that a session waits for: PostgreSQL tells only as long as it waits.
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

  // Whatever keeps it from looking, the migration goes on.
  const timer = setInterval(() => look().catch(() => {}), INTERVAL)
  return {
    /** The error of a wait that was too long, with whom it was for; the same if nobody was seen. */
    explain(error: unknown): unknown {
      if (blockers.length === 0) return error
      const remedy =
        'try again when that is over, or when a superuser has ended it with select pg_terminate_backend(process)'
      return new Error(`${(error as Error).message}: ${blockers.join('; ')}; ${remedy}`, { cause: error })
    },
    stop: () => clearInterval(timer)
  }
}
