import pino from 'pino'
import type { Client } from '../repository/admin.ts'

export type AuditEvent = 'revoke' | 'restore' | 'delete' | 'drop'

/** Written before the command goes on, and apart from its results, which are on stdout. */
const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }))

/**
 * Leaves a line of JSON on stderr about something that was done to a client, whatever LOG_LEVEL is.
 *
 * @param more what else is to be known, such as the reason
 */
export function audit(
  event: AuditEvent,
  { id, fingerprint }: Pick<Client, 'id' | 'fingerprint'>,
  more: Record<string, unknown> = {}
) {
  log.info({ audit: true, event, client_id: id, fingerprint, ...more }, 'audit')
}
