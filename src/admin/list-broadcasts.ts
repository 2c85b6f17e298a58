import type { BroadcastFilter } from './admin.repository.ts'
import { printPage, time } from './terminal-output.ts'
import { listVerb, type PageOptions, withDatabase } from './verb.ts'

/** `broadcasts list`: who is online, as peers see it, page by page. */
export const list = listVerb(
  'Show who is online, by e-mail address',
  'broadcasts list --limit 10 --after bob@example.com',
  'broadcasts list --json'
).action((options: PageOptions & BroadcastFilter) =>
  withDatabase(async (administration) => {
    const page = await administration.listBroadcasts(options)
    const rows = page.broadcasts.map(({ email, port, addresses, observed_address, last_seen, expires_at }) => [
      email,
      String(port),
      addresses.join(' '),
      observed_address ?? '-',
      time(last_seen),
      time(expires_at)
    ])
    await printPage(options, page, [['E-MAIL', 'PORT', 'ADDRESSES', 'SEEN AT', 'ANNOUNCED', 'UNTIL'], ...rows])
  })
)
