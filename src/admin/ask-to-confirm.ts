import { createInterface } from 'node:readline/promises'
import { AdminError } from './admin-error.ts'

/**
 * Asks on the terminal before something is destroyed.
 *
 * @throws AdminError `not_confirmed`, also where there is no terminal and no `--yes`
 */
export async function confirm(question: string, { yes }: { yes: boolean }) {
  if (yes) return
  if (!process.stdin.isTTY) throw new AdminError('not_confirmed', 'there is no terminal to ask on: say --yes')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} [y/N] `)
  terminal.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new AdminError('not_confirmed', 'nothing was changed')
}
