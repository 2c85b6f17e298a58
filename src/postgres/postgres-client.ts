import type { Socket } from 'node:net'
import postgres from 'postgres'

export type Sql = postgres.Sql
/** A part of a query. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>

/** Of postgres.js's options, what says where the database is. */
export interface Destination {
  /** Of a Unix socket. */
  path: string | false
}

export interface Options {
  max?: number
  statementTimeout?: number
  connect_timeout?: number
  max_lifetime?: null
  isPooled?: boolean
  onnotify?: (channel: string, payload: string) => void
  target_session_attrs?: 'primary' | 'standby'
  socket?: (destination: Destination) => Promise<Socket>
}

/** Seconds. A database that is away has to be noticed within the 3 s that a peer waits for its 503. */
export const CONNECT_TIMEOUT = 2
const STATEMENT_TIMEOUT = 2
/** Of that, what a statement waits for a row that another one has: if it is one of many, there is time left to try the others. */
const LOCK_SHARE = 0.3
/**
 * What a role could set for itself, for all its sessions to come, so that its process fails, loses what was acknowledged, or has values
 * logged. Whatever else it may have set, `doctor` finds.
 */
const SESSION = {
  search_path: 'public, pg_temp',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read committed',
  synchronous_commit: 'on',
  idle_session_timeout: '0',
  // None; postgres.js leaves out an empty text, and numbers that are 0.
  local_preload_libraries: ' ',
  DateStyle: 'ISO',
  bytea_output: 'hex',
  log_parameter_max_length_on_error: '0',
  debug_print_parse: 'off',
  debug_print_rewritten: 'off',
  debug_print_plan: 'off'
}

/** @param statementTimeout milliseconds */
function sessionWith(statementTimeout: number): Record<string, string> {
  return {
    ...SESSION,
    statement_timeout: String(statementTimeout),
    lock_timeout: String(statementTimeout * LOCK_SHARE),
    // Otherwise a long statement goes on, with its locks, after the process that sent it was killed.
    ...(statementTimeout === 0 && { client_connection_check_interval: '1000' })
  }
}

/** Seconds to wait before the nth attempt in a row to connect: service is to be back soon after the database is. */
const reconnectAfter = (attempt: number) => Math.min(attempt * 0.1, 0.5)

const JSON_TEXT = 114
const [DATE_TYPE, TIMESTAMP_TYPE, TIMESTAMPTZ_TYPE] = [1082, 1114, 1184]

/** A certificate may begin in the year 1, which JavaScript takes for 2001 unless it stands in RFC 3339. Sessions are in UTC. */
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

/**
 * A pool of connections, opened when they are first needed.
 *
 * @param options.max the most connections that it opens
 * @param options.statementTimeout seconds after which the database gives a statement up, 0 for never
 * @param options.connect_timeout seconds to wait for a connection
 * @param options.isPooled whether they lead to PgBouncer in transaction mode: then every transaction may have another session, and
 *   the role's settings are all that there are
 * @param options.max_lifetime null: connections are kept for good
 * @param options.onnotify takes the notifications of the channels that are listened to
 * @param options.target_session_attrs what the server has to be: a connection to another one is CONNECTION_DESTROYED
 * @param options.socket opens the connections in place of postgres.js; may return before they are open
 */
export function connect(
  url: string,
  { statementTimeout = STATEMENT_TIMEOUT, isPooled, ...options }: Options = {}
): Sql {
  return postgres(url, {
    connect_timeout: CONNECT_TIMEOUT,
    backoff: reconnectAfter,
    connection: {
      application_name: 'relay-tracker',
      TimeZone: 'UTC',
      ...(!isPooled && sessionWith(statementTimeout * 1000))
    },
    prepare: !isPooled,
    onnotice: () => {},
    types: { date: TIMESTAMP },
    // Else postgres.js asks every new connection for the types of arrays, and when that connection is lost meanwhile, the
    // answer that nobody waits for is an unhandled rejection, which ends the process.
    fetch_types: false,
    ...options
  }) as unknown as Sql
}

/** The connection broke: what was asked may or may not have been done. */
const BROKEN = ['57P01', '57P02', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE']

/** There is none any more, or none to be had. */
const LOST = [
  ...BROKEN,
  ...['CONNECT_TIMEOUT', 'CONNECTION_ENDED', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['ETIMEDOUT', 'ENOENT', 'DATABASE_NOT_FOUND', 'DATABASE_NOT_TRUSTED'],
  // It turned into a standby, or to read-only: there may be another one now that takes writes.
  '25006'
]

/**
 * SQLSTATE: connection exception, transaction rollback, insufficient resources, queue of notifications full, operator intervention, lock
 * not available, read-only transaction.
 */
const UNWILLING = /^(08...|40...|53...|54000|57...|55P03|25006)$/

/** Whether the connection is gone, or never was: it is in the list, or PostgreSQL says that it ends it. */
export function isConnectionLost(error: unknown): boolean {
  const code = codeOf(error)
  const severity = String((error as { severity?: unknown } | undefined)?.severity)
  return LOST.includes(code) || ['FATAL', 'PANIC'].includes(severity)
}

export function isConnectionBroken(error: unknown): boolean {
  return BROKEN.includes(codeOf(error))
}

/** Whether the database is away or too busy, so that to try later makes sense. */
export function isDatabaseAway(error: unknown): boolean {
  const code = codeOf(error)
  const isTimeout = (error as Error | undefined)?.name === 'TimeoutError'
  return isTimeout || LOST.includes(code) || UNWILLING.test(code)
}

/** The role may not log in, or not with this password: somebody has changed one of the two. */
export function isLoginRefused(error: unknown): boolean {
  return ['28P01', '28000'].includes(codeOf(error))
}

/** PostgreSQL undid the statement, for it waited for a lock too long, or for another one that waited for it. */
export function isLockedOut(error: unknown): boolean {
  return ['40P01', '55P03'].includes(codeOf(error))
}

/** What a row was to refer to was removed while the statement waited for it; anew, the statement does not find it. */
export function isReferenceGone(error: unknown): boolean {
  return codeOf(error) === '23503'
}

/** PostgreSQL's queue of notifications is full, or was so when it last looked. */
export function isNotificationQueueFull(error: unknown): boolean {
  return codeOf(error) === '54000'
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}
