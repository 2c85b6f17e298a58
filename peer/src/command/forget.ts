import { createInterface } from 'node:readline/promises'
import { CommandError } from './failure.ts'
import { print } from './output.ts'
import { stopRunning } from './running.ts'
import { type CommonOptions, verb, withPeer } from './verb.ts'

/** `relay-peer forget`: nothing is left, here and at the tracker. */
export const forget = verb(
  'forget',
  'Unregister, and delete key and certificate',
  'relay-peer forget',
  'relay-peer forget --yes'
)
  .option('--yes', 'do not ask')
  .action((options: CommonOptions & { yes?: boolean }) =>
    withPeer(options, async (peer) => {
      if (!options.yes) await confirm(`Unregister ${peer.email} and delete ${options.dir}?`)
      await stopRunning(options.dir)
      await peer.forget()
      print(options, { email: peer.email, dir: options.dir }, `${peer.email} is forgotten`)
    })
  )

async function confirm(question: string) {
  if (!process.stdin.isTTY) throw new CommandError('usage', 'there is no terminal to ask on: say --yes')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} [y/N] `)
  terminal.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError('declined', 'nothing was changed')
}
