import { CLIENT_HELP, changeEach, findClients } from './each-client.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `clients restore`: as if it had never been revoked. */
export const restore = verb(
  'restore <client...>',
  'Undo that a client was revoked. What it announced is found again until it expires',
  'clients restore mallory@example.com'
)
  .addHelpText('after', CLIENT_HELP)
  .action((names: string[], options: CommonOptions) =>
    withDatabase(async (administration) => {
      const clients = await findClients(administration, names)
      const words: [string, string] = ['is restored', 'was not revoked']
      await changeEach(clients, { event: 'restore', act: administration.restore, words }, options)
    })
  )
