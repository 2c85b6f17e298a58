import { CommandError, type Terminal } from '../../peer/src/cli/terminal.ts'
import { openClient } from '../postgres/postgres-client.ts'
import type { Sql } from '../postgres/postgres-driver.ts'
import { isDatabaseUnavailable } from '../postgres/postgres-errors.ts'
import { loadConfig } from '../runtime/config.ts'

/** Seconds: counting a million rows takes one. */
const STATEMENT_TIMEOUT = 60
/** Seconds. No peer is waiting. */
const CONNECT_TIMEOUT = 10

/**
 * Connects to the database for as long as `use` takes.
 *
 * @param statementTimeout seconds, 0 for never
 * @throws CommandError `database_away`
 */
export async function withDatabase<T>(
  { env }: Terminal,
  use: (sql: Sql) => Promise<T>,
  statementTimeout?: number
): Promise<T> {
  const { DATABASE_URL } = await loadConfig(env)
  try {
    return await withSql(DATABASE_URL, use, statementTimeout)
  } catch (error) {
    throw isDatabaseUnavailable(error) ? new CommandError('database_away', (error as Error).message) : error
  }
}

/** The same for a known URL, without a code for an unavailable database. */
export async function withSql<T>(
  url: string,
  use: (sql: Sql) => Promise<T>,
  statementTimeout = STATEMENT_TIMEOUT
): Promise<T> {
  const { sql } = openClient(url, { max: 1, statementTimeout, connect_timeout: CONNECT_TIMEOUT })
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}
