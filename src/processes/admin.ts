import { Command } from 'commander'
import { EXIT_CODES, report, watchOutput } from '../admin/admin-error.ts'
import { remove } from '../admin/delete-client.ts'
import { doctor } from '../admin/doctor.ts'
import { drop } from '../admin/drop-broadcast.ts'
import { dashedLast } from '../admin/each-client.ts'
import { exportClients } from '../admin/export.ts'
import { importClients } from '../admin/import.ts'
import { list as listBroadcasts } from '../admin/list-broadcasts.ts'
import { list as listClients } from '../admin/list-clients.ts'
import { restore } from '../admin/restore-client.ts'
import { revoke } from '../admin/revoke-client.ts'
import { show } from '../admin/show-client.ts'
import { stats } from '../admin/stats.ts'
import { run } from '../runtime/lifecycle.ts'

/** `npm run admin`: what an administrator asks of the database and does in it. */
const program = new Command('relay-admin')
  .description('Administers a Relay Tracker, by its database')
  .addHelpText('after', EXIT_CODES)
const clients = group('clients', 'Who is registered', [listClients, show, revoke, restore, remove])
const broadcasts = group('broadcasts', 'Who is online, and where', [listBroadcasts, drop])
for (const command of [stats, clients, broadcasts, importClients, exportClients, doctor]) {
  program.addCommand(command.exitOverride())
}

function group(name: string, description: string, verbs: Command[]) {
  const command = new Command(name).description(description)
  for (const verb of verbs) command.addCommand(verb.exitOverride())
  return command
}

await run(async () => {
  watchOutput()
  try {
    await program.exitOverride().parseAsync(dashedLast(process.argv.slice(2)), { from: 'user' })
  } catch (error) {
    process.exitCode = report(error, { json: process.argv.includes('--json') })
  }
})
