import { rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Terminal } from '../../peer/src/cli/terminal.ts'
import { withDatabase } from './admin-database.ts'
import { createProgress } from './import-progress.ts'
import { openFile } from './open-file.ts'
import { createRegistrations, type Registration } from './registrations.repository.ts'

/** `export`: every registration, a line each, as `import` reads them; announcements are left out. */
export function exportClients(terminal: Terminal, file: string | undefined) {
  return withDatabase(
    terminal,
    async (sql) => {
      const progress = createProgress(terminal, 'clients exported')
      // Some lines are written while the next ones are read; no more are in memory.
      const lines = Readable.from(toLines(createRegistrations(sql).everyone(), progress.tick), { highWaterMark: 1 })
      if (file === undefined) await pipeline(lines, terminal.stdout, { end: false })
      else await writeFile(lines, file)
      progress.end()
    },
    0
  )
}

async function writeFile(lines: Readable, file: string) {
  const output = (await openFile(file, 'wx')).createWriteStream()
  try {
    await pipeline(lines, output)
  } catch (error) {
    await rm(file) // half an export is none
    throw error
  }
}

/** Some lines at a time, each asked for when the ones before have been written. */
async function* toLines(chunks: AsyncIterable<Registration[]>, tick: () => void) {
  for await (const registrations of chunks) {
    yield registrations.map(toLine).join('')
    for (const _ of registrations) tick()
  }
}

function toLine({ fingerprint: _, certificate, ...registration }: Registration) {
  const pem = toPem(certificate)
  return `${JSON.stringify({ ...registration, certificate: pem }, (_, value) => value ?? undefined)}\n`
}

/** RFC 7468. */
function toPem(der: Buffer) {
  const lines = der.toString('base64').match(/.{1,64}/g) as string[]
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
