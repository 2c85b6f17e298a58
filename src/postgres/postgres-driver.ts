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
  /** Whether the URL is that of PgBouncer in transaction mode: each transaction may get another session, with the role's settings alone. */
  isPooled?: boolean
  /** Receives the notifications of the channels that are listened to. */
  onnotify?: (channel: string, payload: string) => void
  /** What the server has to be: a connection to another one fails with `CONNECTION_DESTROYED`. */
  target_session_attrs?: 'primary' | 'standby'
  /** Opens connections in place of postgres.js; may return before they are open. */
  socket?: (destination: { path: string | false }) => Promise<Socket>
}

/** Seconds. An unavailable database has to be noticed within the 3 s in which a peer gets its 503. */
export const CONNECT_TIMEOUT = 2
const STATEMENT_TIMEOUT = 2
/** The part of that which a statement may wait for a locked row: if it is one of a batch, time is left to run the others. */
const LOCK_SHARE = 0.3
/**
 * A role could change most of these for its own future sessions, so that its process fails, loses what was acknowledged, or has values logged.
 * `doctor` finds any other setting that it has changed.
 *
 * @param timeout that of a statement, in milliseconds
 */
const sessionWith = (timeout: number): Record<string, string> => ({
  search_path: 'public, pg_temp',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read committed',
  synchronous_commit: 'on',
  idle_session_timeout: '0',
  // None. postgres.js leaves out an empty text, and numbers that are 0.
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

/** A certificate may be valid from the year 1, which JavaScript reads as 2001 unless it is written as in RFC 3339. Sessions are in UTC. */
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

/** A fragment to compare a column with: it is one of these texts, however many. */
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
    // Service should resume soon after the database does.
    backoff: (attempts) => Math.min(attempts * 0.1, 0.5),
    connection: {
      application_name: 'relay-tracker',
      TimeZone: 'UTC',
      ...(!isPooled && sessionWith(statementTimeout * 1000))
    },
    prepare: !isPooled,
    onnotice: () => {},
    types: { date: TIMESTAMP },
    // Otherwise postgres.js asks each new connection for array types; if that connection breaks, nobody awaits the rejection, and it ends the
    // process.
    fetch_types: false,
    ...options
  }) as unknown as Sql
}
