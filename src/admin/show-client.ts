import { CLIENT_HELP, notFound, readName } from './each-client.ts'
import { print, properties, time } from './terminal-output.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `clients show`: all about one client but the certificate itself. */
export const show = verb('show <client>', 'Show all about a client', 'clients show alice@example.com')
  .addHelpText('after', CLIENT_HELP)
  .action((text: string, options: CommonOptions) =>
    withDatabase(async (administration) => {
      const client = await administration.show(readName(text))
      if (!client) throw notFound(text)
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
        ['next certificate', next?.fingerprint ?? null],
        ['online until', time(client.online_until)],
        ['listens at', broadcast && `${broadcast.addresses.join(' ')} port ${broadcast.port}`],
        ['seen at', broadcast?.observed_address ?? null],
        ['capabilities', broadcast && JSON.stringify(broadcast.capabilities)]
      ])
      await print(options, client, words)
    })
  )
