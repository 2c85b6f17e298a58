import type { ClientFilter } from './admin.repository.ts'
import { printPage, time } from './terminal-output.ts'
import { listVerb, numberFrom1To, type PageOptions, withDatabase } from './verb.ts'

/** `clients list`: who is registered, page by page. */
export const list = listVerb(
  'Show who is registered, by e-mail address',
  'clients list --email @example.com',
  'clients list --revoked',
  "clients list --json --limit 1000 | jq -r '.clients[].email'"
)
  .option('--revoked', 'only those who are revoked', false)
  .option('--online', 'only those who are online', false)
  .option(
    '--expires-within <days>',
    'only those whose certificate is in force, and expires within so many days',
    numberFrom1To(36500)
  )
  .action((options: PageOptions & ClientFilter) =>
    withDatabase(async (administration) => {
      const page = await administration.list(options)
      const rows = page.clients.map(({ email, state, not_after, online_until, fingerprint }) => [
        email,
        state.replaceAll('_', ' '),
        time(not_after),
        time(online_until),
        fingerprint
      ])
      await printPage(options, page, [['E-MAIL', 'STATE', 'VALID UNTIL', 'ONLINE UNTIL', 'FINGERPRINT'], ...rows])
    })
  )
