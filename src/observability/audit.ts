import type { FastifyBaseLogger } from 'fastify'

/**
 * What changed about who is registered. Clients by their ids and certificates by their fingerprints: an e-mail address stands in the
 * database and nowhere else, so that it can be forgotten.
 */
export type AuditEvent =
  /** A client was made, or, with verified e-mail, is `pending` until its address is confirmed. */
  | { event: 'register'; clientId: string; fingerprint: string; isProven: boolean; pending?: true }
  /** A client, or what is pending and no client yet, left by itself. */
  | { event: 'unregister'; clientId: string | undefined; fingerprint: string }
  /** A client announced its next certificate, took that back, or the next one was put in force. */
  | { event: 'rotate'; step: 'announced' | 'withdrawn'; clientId: string; fingerprint: string; next?: string }
  | { event: 'rotate'; step: 'taken_over'; clientId: string; fingerprint: string; previous: string }
  /** The holder of an e-mail address confirmed a registration. */
  | { event: 'verify'; clientId: string; fingerprint: string }
  /** A client ended because another one, `by`, has the better claim to its certificate or e-mail address. */
  | { event: 'displaced'; clientId: string; by: string }
  | AdminEvent

/** An administrator revoked a client, took that back, deleted it, or took it offline. */
export interface AdminEvent {
  event: 'revoke' | 'restore' | 'delete' | 'drop'
  clientId: string
  fingerprint: string
  reason?: string
}

/** Writes a line of the audit trail: at whatever LOG_LEVEL but `silent`, for it is not there to find faults. */
export function audit(log: FastifyBaseLogger, event: AuditEvent) {
  const isSilent = log.level === 'silent'
  log.child({}, { level: isSilent ? 'silent' : 'info' }).info({ audit: true, ...event }, `audit: ${event.event}`)
}
