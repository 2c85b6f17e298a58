import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { RelayPeer } from '../index.ts'

/** What every verb takes. */
export interface CommonOptions {
  dir: string
  json: boolean
}

/**
 * A verb of the command, with the options that all have.
 *
 * @param usage its name and arguments, as Commander reads them
 * @param examples lines for its help
 */
export function verb(usage: string, description: string, ...examples: string[]): Command {
  const [name, ...args] = usage.split(' ')
  const command = new Command(name)
  for (const argument of args) command.argument(argument)
  return command
    .description(description)
    .option(
      '--dir <folder>',
      'the identity; RELAY_PEER_DIR or ~/.relay-peer otherwise',
      (folder) => resolve(folder),
      defaultDir()
    )
    .option('--json', 'output for programs', false)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`)
}

/** Opens the identity for as long as `use` takes. */
export async function withPeer<T>({ dir }: CommonOptions, use: (peer: RelayPeer) => Promise<T>): Promise<T> {
  const peer = await RelayPeer.open({ dir })
  try {
    return await use(peer)
  } finally {
    await peer.close()
  }
}

function defaultDir() {
  return resolve(process.env.RELAY_PEER_DIR || join(homedir(), '.relay-peer'))
}
