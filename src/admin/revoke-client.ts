import { AdminError } from './admin-error.ts'
import { CLIENT_HELP, changeEach, findClients } from './each-client.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `clients revoke`: the next request with the certificate is refused, at every API process. */
export const revoke = verb(
  'revoke <client...>',
  'Refuse a client from its next request on. It goes offline, and keeps e-mail address and certificate from anybody else',
  'clients revoke mallory@example.com --reason "announces the addresses of others"'
)
  .option('--reason <text>', 'why, for who looks later: at most 500 characters', readReason)
  .addHelpText('after', CLIENT_HELP)
  .action((names: string[], options: CommonOptions & { reason?: string }) =>
    withDatabase(async (administration) => {
      const { reason = null } = options
      const clients = await findClients(administration, names)
      const words: [string, string] = ['is revoked', 'was revoked already']
      const act = (id: string) => administration.revoke(id, reason)
      await changeEach(clients, { event: 'revoke', act, words, reason }, options)
    })
  )

function readReason(text: string) {
  if (text.length < 1 || text.length > 500) throw new AdminError('usage', 'a reason has 1 to 500 characters')
  return text
}
