const BROKEN = ['57P01', '57P02', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE']

/** The connection broke, or could not be opened. */
const DISCONNECTED = [
  ...BROKEN,
  ...['CONNECT_TIMEOUT', 'CONNECTION_ENDED', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['ETIMEDOUT', 'ENOENT', 'DATABASE_NOT_FOUND', 'DATABASE_NOT_TRUSTED'],
  // The server became a standby, or read-only: another one may take writes now.
  '25006'
]

/**
 * SQLSTATE: connection exception, transaction rollback, insufficient resources, notification queue full, operator intervention, lock not
 * available, read-only transaction.
 */
const UNAVAILABLE = /^(08...|40...|53...|54000|57...|55P03|25006)$/

const hasCode =
  (...codes: string[]) =>
  (error: unknown): boolean =>
    codes.includes(codeOf(error))

/** The connection broke: the statement may or may not have been executed. */
export const isConnectionBroken = hasCode(...BROKEN)

/** The role may not log in, or not with this password. */
export const isLoginRefused = hasCode('28P01', '28000')

/** PostgreSQL undid the statement because of a deadlock, or because it waited too long for a lock. */
export const isLockedOut = hasCode('40P01', '55P03')

/** The row to refer to was removed while the statement waited; run again, the statement will not find it. */
export const isReferenceGone = hasCode('23503')

/** PostgreSQL's queue of notifications is full, or was when PostgreSQL last looked. */
export const isNotificationQueueFull = hasCode('54000')

/** Whether the connection is gone or could not be opened, or PostgreSQL says that it closes it. */
export function isDisconnected(error: unknown): boolean {
  const severity = String((error as { severity?: unknown } | undefined)?.severity)
  return DISCONNECTED.includes(codeOf(error)) || ['FATAL', 'PANIC'].includes(severity)
}

/** Whether the database is unavailable or too busy, so that trying later makes sense. */
export function isDatabaseUnavailable(error: unknown): boolean {
  const code = codeOf(error)
  const isTimeout = (error as Error | undefined)?.name === 'TimeoutError'
  return isTimeout || DISCONNECTED.includes(code) || UNAVAILABLE.test(code)
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}
