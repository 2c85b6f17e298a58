import { createCommandLine, wholeNumber } from '../../peer/src/cli/command-line.ts'
import type { Surroundings } from '../../peer/src/cli/terminal.ts'
import { VERSION } from '../runtime/version.ts'

const CLIENT_HELP = '\nA client is named by its e-mail address, its fingerprint or its id.'

/**
 * `npm run admin`: what an administrator reads and changes in the database.
 *
 * @returns the exit code
 */
export function runAdmin(args: string[], surroundings: Surroundings): Promise<number> {
  const { program, verbs, run } = createCommandLine(args, surroundings, {
    name: 'relay-admin',
    invocation: 'npm run admin --',
    description: 'Administers a Relay Tracker through its database',
    version: VERSION,
    exitCodes: {
      1: 'failed; doctor: something is wrong; import: lines were refused',
      3: 'no such client',
      4: 'not confirmed',
      5: 'the database cannot be reached'
    },
    exitCodeOf: { not_found: 3, not_confirmed: 4, database_away: 5 }
  })
  const verb = verbs(program)

  verb(
    'stats',
    'Count clients, who is online, and what is pending',
    ['stats', 'stats --json'],
    async () => (await import('./admin-queries.ts')).stats
  )

  const clients = verbs(program.command('clients').description('Who is registered'))
  const broadcasts = verbs(program.command('broadcasts').description('Who is online, and where'))
  const page = (command: ReturnType<typeof verb>) =>
    command
      .option('--limit <number>', 'the most to show, 1 to 1000', wholeNumber(1, 1000), 50)
      .option('--after <address>', 'begin after this e-mail address')
      .option('--email <text>', 'only e-mail addresses that contain this')
      .option('--fingerprint <text>', 'only certificates whose fingerprint begins with this')
  page(
    clients(
      'list',
      'Show who is registered, by e-mail address',
      [
        'clients list --email @example.com',
        'clients list --revoked',
        "clients list --json --limit 1000 | jq -r '.clients[].email'"
      ],
      async () => (await import('./admin-queries.ts')).listClients
    )
  )
    .option('--revoked', 'only revoked clients')
    .option('--online', 'only clients that are online')
    .option(
      '--expires-within <days>',
      'only valid certificates that expire within this many days',
      wholeNumber(1, 36_500)
    )
  page(
    broadcasts(
      'list',
      'Show who is online, by e-mail address',
      ['broadcasts list --limit 10 --after bob@example.com', 'broadcasts list --json'],
      async () => (await import('./admin-queries.ts')).listBroadcasts
    )
  )

  clients(
    'show <client>',
    'Show everything about a client',
    ['clients show alice@example.com'],
    async () => (await import('./admin-queries.ts')).showClient
  ).addHelpText('after', CLIENT_HELP)
  clients(
    'revoke <client...>',
    'Refuse a client from its next request on. It goes offline, and nobody else can use its e-mail address or certificate',
    ['clients revoke mallory@example.com --reason "announces the addresses of others"'],
    async () => (await import('./admin-changes.ts')).revoke
  )
    .option('--reason <text>', 'why, for the record: at most 500 characters')
    .addHelpText('after', CLIENT_HELP)
  clients(
    'restore <client...>',
    'Undo a revocation. What the client announced is found again until it expires',
    ['clients restore mallory@example.com'],
    async () => (await import('./admin-changes.ts')).restore
  ).addHelpText('after', CLIENT_HELP)
  clients(
    'delete <client...>',
    'Delete a client and everything about it. Its e-mail address and certificate are free again, even if it was revoked',
    ['clients delete bob@example.com --yes'],
    async () => (await import('./admin-changes.ts')).remove
  )
    .option('--yes', 'do not ask')
    .addHelpText('after', CLIENT_HELP)
  broadcasts(
    'drop <client...>',
    'Delete what a client announced. It is offline until it announces itself again',
    ['broadcasts drop bob@example.com --yes'],
    async () => (await import('./admin-changes.ts')).drop
  )
    .option('--yes', 'do not ask')
    .addHelpText('after', CLIENT_HELP)

  verb(
    'import [file]',
    'Add registrations, one line of JSON each, from a file or stdin. Wrong lines are reported by number and skipped',
    ['import clients.jsonl', 'import < clients.jsonl'],
    async () => (await import('./import.ts')).importClients
  )
  verb(
    'export [file]',
    'Write every registration as a line of JSON, to a new file or to stdout',
    ['export clients.jsonl', 'export --json | gzip > clients.jsonl.gz'],
    async () => (await import('./export.ts')).exportClients
  )
  verb(
    'doctor',
    'Check the database, its schema and rights, certificates, clocks, and the edge',
    ['doctor', 'doctor --edge https://relay.example.com', 'doctor --edge https://localhost:8443 --ca .data/ca.crt'],
    async () => (await import('./doctor.ts')).doctor
  )
    .option('--edge <url>', 'where peers reach the tracker')
    .option('--ca <file>', "the edge's certificate, if no public authority vouches for it")
    .option('--server-name <name>', "the name that the edge's certificate is for; by default that in the URL")
  return run()
}
