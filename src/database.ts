import type { Socket } from 'node:net'
import postgres from 'postgres'

export type Sql = postgres.Sql

/** Of postgres.js's options, those that say where the database is. */
interface Destination {
  host: string[]
  port: number[]
  path: string | false
}

interface Options {
  max?: number
  statementTimeout?: number
  socket?: (destination: Destination) => Socket
}

/** Seconds. A database that is away has to be noticed within the 3 s that a peer waits for its 503. */
const CONNECT_TIMEOUT = 2
const STATEMENT_TIMEOUT = 2
/** Seconds to wait before the nth attempt in a row to connect: service is to be back soon after the database is. */
const reconnectAfter = (attempt: number) => Math.min(attempt * 0.1, 0.5)

/** `inet[]`, of which no element needs quotes. */
export const INET_ARRAY = 1041
const inetArray = {
  to: INET_ARRAY,
  from: [INET_ARRAY],
  serialize: (addresses: string[]) => `{${addresses.join()}}`,
  parse: (text: string) => text.slice(1, -1).split(',')
}

/**
 * A pool of connections, opened when they are first needed.
 *
 * @param options.max the most connections that it opens
 * @param options.statementTimeout seconds after which the database gives a statement up, 0 for never
 * @param options.socket opens the connections in place of postgres.js; may return before they are open
 */
export function connect(url: string, { statementTimeout = STATEMENT_TIMEOUT, ...options }: Options = {}): Sql {
  return postgres(url, {
    connect_timeout: CONNECT_TIMEOUT,
    backoff: reconnectAfter,
    connection: { application_name: 'relay-tracker', statement_timeout: statementTimeout * 1000 },
    onnotice: () => {},
    // Else postgres.js asks each new connection for the types of arrays, and when it breaks meanwhile, that is an error which
    // nobody can catch, and the end of the process.
    fetch_types: false,
    types: { inetArray },
    ...options
  })
}

/** The connection broke: what was asked may or may not have been done. */
const BROKEN = ['57P01', '57P02', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE']

/** There is none any more, or none to be had. */
const LOST = [
  ...BROKEN,
  ...['CONNECT_TIMEOUT', 'CONNECTION_ENDED', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['ETIMEDOUT', 'ENOENT']
]

/** SQLSTATE: connection exception, insufficient resources, operator intervention, read-only transaction. */
const UNWILLING = /^(08...|53...|57...|25006)$/

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

export function isUniqueViolation(error: unknown): boolean {
  return codeOf(error) === '23505'
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}
