import { confirm } from './ask-to-confirm.ts'
import { CLIENT_HELP, changeEach, findClients } from './each-client.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `clients delete`: as if it had never registered. */
export const remove = verb(
  'delete <client...>',
  'Delete a client and all about it. Its e-mail address and certificate are free, also when it was revoked',
  'clients delete bob@example.com --yes'
)
  .option('--yes', 'do not ask', false)
  .addHelpText('after', CLIENT_HELP)
  .action((names: string[], options: CommonOptions & { yes: boolean }) =>
    withDatabase(async (administration) => {
      const clients = await findClients(administration, names)
      await confirm(`Delete ${clients.map(({ email }) => email).join(', ')}?`, options)
      const words: [string, string] = ['is deleted', 'had gone by itself']
      await changeEach(clients, { event: 'delete', act: administration.delete, words }, options)
    })
  )
