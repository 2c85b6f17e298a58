import { CommandError } from '../../peer/src/cli/terminal.ts'

/** Something unique that names a client. */
export interface ClientName {
  column: 'email' | 'fingerprint' | 'id'
  value: string
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/

/** @throws CommandError `usage` for a text that cannot name a client */
function readName(text: string): ClientName {
  if (text.includes('@')) return { column: 'email', value: text.toLowerCase() }
  if (ID.test(text)) return { column: 'id', value: text }
  if (FINGERPRINT.test(text)) return { column: 'fingerprint', value: text }
  throw new CommandError('usage', `${text} is not an e-mail address, a fingerprint or the id of a client`)
}

/** @throws CommandError `usage`, `not_found` */
export async function findOrThrow<T>(name: string, find: (name: ClientName) => Promise<T | undefined>): Promise<T> {
  const client = await find(readName(name))
  if (client === undefined) throw new CommandError('not_found', `there is no client ${name}`)
  return client
}
