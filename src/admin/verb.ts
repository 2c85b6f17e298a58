import { Command } from 'commander'
import { openConnections } from '../postgres/connections.ts'
import type { Sql } from '../postgres/postgres-client.ts'
import { loadConfig } from '../runtime/config.ts'
import { type Administration, createAdministration } from './admin.repository.ts'
import { AdminError } from './admin-error.ts'
import { createRegistrations, type Registrations } from './registrations.repository.ts'

/** Seconds: to count a million rows takes one. */
const STATEMENT_TIMEOUT = 60
/** Seconds. Nobody waits at the other end. */
const CONNECT_TIMEOUT = 10

/** What every verb takes. */
export interface CommonOptions {
  json: boolean
}

/** Of what is listed page by page. */
export interface PageOptions extends CommonOptions {
  limit: number
  after: string
}

/**
 * A verb of the command, with the options that all have.
 *
 * @param usage its name and arguments, as Commander reads them
 * @param examples lines for its help, without the command's name
 */
export function verb(usage: string, description: string, ...examples: string[]): Command {
  const [name, ...args] = usage.split(' ')
  const command = new Command(name)
  for (const argument of args) command.argument(argument)
  return command
    .description(description)
    .option('--json', 'output for programs', false)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  npm run admin -- ${line}`).join('\n')}`)
}

/** A verb that lists page by page, by e-mail address. */
export function listVerb(description: string, ...examples: string[]): Command {
  return verb('list', description, ...examples)
    .option('--limit <number>', 'the most to show, 1 to 1000', numberFrom1To(1000), 50)
    .option('--after <address>', 'begin after this e-mail address', '')
    .option('--email <text>', 'only those whose e-mail address has this in it')
    .option('--fingerprint <text>', "only those whose certificate's fingerprint begins with this")
}

/** Reads an option's whole number. */
export function numberFrom1To(max: number) {
  return (text: string) => {
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < 1 || number > max) {
      throw new AdminError('usage', `${text} is no whole number from 1 to ${max}`)
    }
    return number
  }
}

/**
 * Connects to the database for as long as `use` takes.
 *
 * @param statementTimeout seconds, 0 for never
 */
export async function withDatabase<T>(
  use: (administration: Administration, registrations: Registrations) => Promise<T>,
  statementTimeout = STATEMENT_TIMEOUT
): Promise<T> {
  const { DATABASE_URL } = await loadConfig()
  return withSql(DATABASE_URL, (sql) => use(createAdministration(sql), createRegistrations(sql)), statementTimeout)
}

/** The same for an address that was read already. */
export async function withSql<T>(
  url: string,
  use: (sql: Sql) => Promise<T>,
  statementTimeout = STATEMENT_TIMEOUT
): Promise<T> {
  const { sql } = openConnections(url, { max: 1, statementTimeout, connect_timeout: CONNECT_TIMEOUT })
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}
