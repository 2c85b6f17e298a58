import type { Socket } from 'node:net'
import postgres from 'postgres'

export type Sql = postgres.Sql
/** A part of a query. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>

export interface Options {
  /** The most connections to open. */
  max?: number
  /** Seconds after which PostgreSQL cancels a statement; 0 for never. */
  statementTimeout?: number
  /** Seconds to wait for a connection. */
  connect_timeout?: number
  /** `null` keeps connections for good. */
  max_lifetime?: null
  /** Whether the URL is PgBouncer's, in transaction mode: each transaction may get another session, with only the role's settings. */
  isPooled?: boolean
  onnotify?: (channel: string, payload: string) => void
  /** What the server has to be: a connection to another one fails with `CONNECTION_DESTROYED`. */
  target_session_attrs?: 'primary' | 'standby'
  /** Opens connections in place of postgres.js; may return before they are open. */
  socket?: (destination: { path: string | false }) => Promise<Socket>
}

/** Seconds. A peer gets its 503 within 3 s. */
export const CONNECT_TIMEOUT = 2
const STATEMENT_TIMEOUT = 2
/** The fraction of that for which a statement may wait for a locked row, so that others of its batch still have time. */
const LOCK_SHARE = 0.3
/**
 * A role could change most of these for its own sessions, so that its process fails, loses what was acknowledged, or has values logged.
 * `doctor` finds other settings that it has changed.
 *
 * @param timeout that of a statement, in milliseconds
 */
const sessionWith = (timeout: number): Record<string, string> => ({
  search_path: 'public, pg_temp',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read committed',
  synchronous_commit: 'on',
  idle_session_timeout: '0',
  // None: postgres.js leaves out an empty text, and 0 as a number.
  local_preload_libraries: ' ',
  DateStyle: 'ISO',
  bytea_output: 'hex',
  log_parameter_max_length_on_error: '0',
  debug_print_parse: 'off',
  debug_print_rewritten: 'off',
  debug_print_plan: 'off',
  statement_timeout: String(timeout),
  lock_timeout: String(timeout * LOCK_SHARE),
  // Otherwise a long statement would keep running, and hold its locks, after the process that sent it was killed.
  ...(timeout === 0 && { client_connection_check_interval: '1000' })
})

const JSON_TEXT = 114
const [DATE_TYPE, TIMESTAMP_TYPE, TIMESTAMPTZ_TYPE] = [1082, 1114, 1184]

/** JavaScript reads the year 1, from which a certificate may be valid, as 2001 unless it is written as in RFC 3339. */
const TIMESTAMP = {
  to: TIMESTAMPTZ_TYPE,
  from: [DATE_TYPE, TIMESTAMP_TYPE, TIMESTAMPTZ_TYPE],
  serialize: (time: Date) => time.toISOString(),
  parse: (text: string) => new Date(text.replace(' ', 'T').replace(/\+00$/, 'Z'))
}

/** A value of the type `json`; postgres.js's own `sql.json` is jsonb, which reorders members. */
export function json(sql: Sql, value: unknown) {
  return sql.typed(value as never, JSON_TEXT)
}

/** A fragment to compare a column with any of these texts. */
export function anyOf(sql: Sql, texts: string[]): Fragment {
  return sql`any(array(select json_array_elements_text(${json(sql, texts)})))`
}

/** A client of postgres.js that opens its connections when they are first needed. */
export function connect(
  url: string,
  { statementTimeout = STATEMENT_TIMEOUT, isPooled, ...options }: Options = {}
): Sql {
  return postgres(url, {
    connect_timeout: CONNECT_TIMEOUT,
    // Soon, so that service resumes when the database does.
    backoff: (attempts) => Math.min(attempts * 0.1, 0.5),
    connection: {
      application_name: 'relay-tracker',
      TimeZone: 'UTC',
      ...(!isPooled && sessionWith(statementTimeout * 1000))
    },
    prepare: !isPooled,
    onnotice: () => {},
    types: { date: TIMESTAMP },
    // postgres.js would ask each new connection for array types; if it breaks, the unhandled rejection ends the process.
    fetch_types: false,
    ...options
  }) as unknown as Sql
}
