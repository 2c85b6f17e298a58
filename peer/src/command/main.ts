#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { connect } from './connect.ts'
import { down } from './down.ts'
import { EXIT_CODES, report } from './failure.ts'
import { forget } from './forget.ts'
import { init } from './init.ts'
import { list } from './list.ts'
import { lookup } from './lookup.ts'
import { rotate } from './rotate.ts'
import { up } from './up.ts'
import { watch } from './watch.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const program = new Command('relay-peer')
  .description('A peer that others find by e-mail address, and that finds them')
  .version(version)
  .addHelpText('after', EXIT_CODES)
for (const verb of [init, up, lookup, list, watch, connect, rotate, down, forget]) {
  program.addCommand(verb.exitOverride())
}

// Who read our output has gone, such as head: end as on SIGTERM, which `up` uses to withdraw.
process.stdout.on('error', () => process.kill(process.pid, 'SIGTERM'))

try {
  await program.exitOverride().parseAsync()
} catch (error) {
  process.exitCode = report(error, { json: process.argv.includes('--json') })
}
