import { confirm } from './ask-to-confirm.ts'
import { CLIENT_HELP, changeEach, findClients } from './each-client.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `broadcasts drop`: a client is offline until it announces itself again. */
export const drop = verb(
  'drop <client...>',
  'Delete what a client announced. It is offline until it announces itself again',
  'broadcasts drop bob@example.com --yes'
)
  .option('--yes', 'do not ask', false)
  .addHelpText('after', CLIENT_HELP)
  .action((names: string[], options: CommonOptions & { yes: boolean }) =>
    withDatabase(async (administration) => {
      const clients = await findClients(administration, names)
      await confirm(`Take ${clients.map(({ email }) => email).join(', ')} offline?`, options)
      const words: [string, string] = ['is offline', 'was offline already']
      await changeEach(clients, { event: 'drop', act: administration.drop, words }, options)
    })
  )
