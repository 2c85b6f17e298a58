import pino from 'pino'
import { type AdminEvent, audit } from '../observability/audit.ts'
import type { Administration, Client, ClientName } from './admin.repository.ts'
import { AdminError } from './admin-error.ts'
import { print } from './terminal-output.ts'
import type { CommonOptions } from './verb.ts'

/** How clients are named on the command line. */
export const CLIENT_HELP = '\nA client is named by its e-mail address, its fingerprint or its id.'

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/

/** The audit trail: on stderr, apart from the results, and written before the command goes on. */
const LOG = pino({ base: null }, pino.destination({ fd: 2, sync: true }))

/** @throws AdminError `usage` for what names no client, whoever is registered */
export function readName(text: string): ClientName {
  if (text.includes('@')) return { column: 'email', value: text.toLowerCase() }
  if (ID.test(text)) return { column: 'id', value: text }
  if (FINGERPRINT.test(text)) return { column: 'fingerprint', value: text }
  throw new AdminError('usage', `${text} is no e-mail address, no fingerprint and no id of a client`)
}

/**
 * The same arguments for Commander, which takes what begins with a dash for an option, as one in 64 fingerprints does: those come
 * last, after `--`.
 */
export function dashedLast(args: string[]): string[] {
  const isDashed = (arg: string, n: number) =>
    arg.startsWith('-') && FINGERPRINT.test(arg) && args[n - 1] !== '--fingerprint'
  const dashed = args.filter(isDashed)
  if (dashed.length === 0 || args.includes('--')) return args
  return [...args.filter((arg, n) => !isDashed(arg, n)), '--', ...dashed]
}

/**
 * The clients with these names: all of them, or nothing is done.
 *
 * @throws AdminError `usage`, `not_found`
 */
export async function findClients(administration: Administration, texts: string[]): Promise<Client[]> {
  const clients: Client[] = []
  for (const text of texts) {
    const client = await administration.find(readName(text))
    if (!client) throw notFound(text)
    clients.push(client)
  }
  return clients
}

export function notFound(name: string) {
  return new AdminError('not_found', `there is no client ${name}`)
}

interface Change {
  event: AdminEvent['event']
  /** Tells whether it changed anything. */
  act: (id: string) => Promise<boolean>
  /** What to say, after the e-mail address, when it did and when there was nothing to change. */
  words: [done: string, already: string]
  /** Why, for the audit trail. */
  reason?: string | null
}

/**
 * Does one thing to several clients, and says of each that it was done: as a line of JSON for programs. It is done to all of them,
 * also when nobody reads that any more.
 *
 * @throws as `print`
 */
export async function changeEach(clients: Client[], { event, act, words, reason }: Change, options: CommonOptions) {
  let unread: unknown
  for (const client of clients) {
    const { id, email, fingerprint } = client
    const changed = await act(id)
    if (changed) audit(LOG, { event, clientId: id, fingerprint, ...(reason && { reason }) })
    const [done, already] = words
    const line = { client_id: id, email, fingerprint, changed }
    await print(options, line, `${email} ${changed ? done : already}`).catch((error) => {
      unread = error
    })
  }
  if (unread) throw unread
}
