import type { Terminal } from '../../peer/src/cli/terminal.ts'
import { harmless, table } from '../../peer/src/cli/text.ts'
import { type BroadcastFilter, type ClientFilter, createAdministration, type Paging } from './admin.repository.ts'
import { withDatabase } from './admin-database.ts'
import { findOrThrow } from './client-name.ts'

/** `stats`: how many clients, broadcasts and so on. */
export async function stats(terminal: Terminal) {
  const counts = await withDatabase(terminal, (sql) => createAdministration(sql).stats())
  terminal.print(counts, properties(Object.entries(counts).map(([name, count]) => [name.replaceAll('_', ' '), count])))
}

/** `clients list`: who is registered, page by page. */
export async function listClients(terminal: Terminal, options: Paging & ClientFilter) {
  const page = await withDatabase(terminal, (sql) => createAdministration(sql).list(options))
  const rows = page.clients.map(({ email, state, not_after, online_until, fingerprint }) => [
    email,
    state.replaceAll('_', ' '),
    time(not_after),
    time(online_until),
    fingerprint
  ])
  await printPage(terminal, page, [['E-MAIL', 'STATE', 'VALID UNTIL', 'ONLINE UNTIL', 'FINGERPRINT'], ...rows])
}

/** `broadcasts list`: who is online, as peers see it, page by page. */
export async function listBroadcasts(terminal: Terminal, options: Paging & BroadcastFilter) {
  const page = await withDatabase(terminal, (sql) => createAdministration(sql).listBroadcasts(options))
  const rows = page.broadcasts.map(({ email, port, addresses, observed_address, last_seen, expires_at }) => [
    email,
    String(port),
    addresses.join(' '),
    observed_address ?? '-',
    time(last_seen),
    time(expires_at)
  ])
  await printPage(terminal, page, [['E-MAIL', 'PORT', 'ADDRESSES', 'SEEN AT', 'ANNOUNCED', 'UNTIL'], ...rows])
}

/** `clients show`: everything about a client except the certificate itself. */
export async function showClient(terminal: Terminal, name: string) {
  const client = await withDatabase(terminal, (sql) => findOrThrow(name, createAdministration(sql).show))
  const { pending_certificate: next, broadcast } = client
  const words = properties([
    ['e-mail', client.email],
    ['id', client.id],
    ['state', client.state.replaceAll('_', ' ')],
    ['revoked', time(client.revoked_at)],
    ['reason', client.revocation_reason],
    ['fingerprint', client.fingerprint],
    ['common name', client.common_name],
    ['valid from', time(client.not_before)],
    ['valid until', time(client.not_after)],
    ['registered', time(client.created_at)],
    ['key proven', time(client.proven_at)],
    ['e-mail verified', time(client.email_verified_at)],
    ['next certificate', next?.fingerprint],
    ['online until', time(client.online_until)],
    ['listens at', broadcast && `${broadcast.addresses.join(' ')} port ${broadcast.port}`],
    ['seen at', broadcast?.observed_address],
    ['capabilities', broadcast && JSON.stringify(broadcast.capabilities)]
  ])
  terminal.print(client, words)
}

/** Prints a page, and on stderr where the next one begins. */
async function printPage(terminal: Terminal, page: { next: string | null }, rows: string[][]) {
  terminal.print(page, table(rows))
  if (page.next && !terminal.json && (await terminal.flush())) terminal.warn(`There are more: --after ${page.next}`)
}

/** A line for each name and value; a dash for a value that is missing. */
function properties(values: [string, string | number | null | undefined][]): string {
  return table(values.map(([name, value]) => [`${name}:`, harmless(String(value ?? '-'))]))
}

/** To the second, in UTC; a dash for never. */
function time(date: Date | null): string {
  return date ? date.toISOString().replace(/\.\d+Z$/, 'Z') : '-'
}
