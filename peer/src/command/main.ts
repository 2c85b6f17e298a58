#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { connect } from './connect.ts'
import { down } from './down.ts'
import { endProcess } from './end.ts'
import { BROKEN_PIPE, EXIT_CODES, report } from './failure.ts'
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

// Nobody reads the output any more, as after head, or it cannot be written.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exitCode = error.code === 'EPIPE' ? BROKEN_PIPE : fail(error)
    endProcess()
  })
}

try {
  await program.exitOverride().parseAsync()
} catch (error) {
  process.exitCode = fail(error)
}

function fail(error: unknown) {
  return report(error, { json: process.argv.includes('--json') })
}
