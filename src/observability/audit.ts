import type { FastifyBaseLogger } from 'fastify'

/** What changed about who is registered. E-mail addresses are only in the database, so that they can be forgotten. */
type AuditEvent =
  /** A client was registered or, with verified e-mail, is `pending` until its address is confirmed. */
  | { event: 'register'; clientId: string; fingerprint: string; isProven: boolean; pending?: true }
  /** A client, or a pending registration, left. */
  | { event: 'unregister'; clientId: string | undefined; fingerprint: string }
  /** A client announced its next certificate, withdrew it, or started to use it. */
  | { event: 'rotate'; step: 'announced' | 'withdrawn'; clientId: string; fingerprint: string; next?: string }
  | { event: 'rotate'; step: 'taken_over'; clientId: string; fingerprint: string; previous: string }
  /** The holder of an e-mail address confirmed a registration. */
  | { event: 'verify'; clientId: string; fingerprint: string }
  /** A client was removed because another one, `by`, has the better claim to its certificate or e-mail address. */
  | { event: 'displaced'; clientId: string; by: string }
  | AdminEvent

/** An administrator revoked, restored or deleted a client, or took it offline. */
export interface AdminEvent {
  event: 'revoke' | 'restore' | 'delete' | 'drop'
  clientId: string
  fingerprint: string
  reason?: string
}

/** Writes a line of the audit trail, at every LOG_LEVEL except `silent`. */
export function audit(log: FastifyBaseLogger, event: AuditEvent) {
  const isSilent = log.level === 'silent'
  log.child({}, { level: isSilent ? 'silent' : 'info' }).info({ audit: true, ...event }, `audit: ${event.event}`)
}
