import { open, rm } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Terminal } from '../../peer/src/cli/terminal.ts'
import { withDatabase } from './admin-database.ts'
import { createProgress } from './import-progress.ts'
import { createRegistrations, type Registration } from './registrations.repository.ts'

/** `export`: every registration, a line each, for `import` to read. Announcements are left out. */
export async function exportClients(terminal: Terminal, file: string | undefined) {
  if (file === undefined) return exportTo(terminal.stdout, terminal)
  // Only for us to read: it tells who is registered.
  const output = (await open(file, 'wx', 0o600)).createWriteStream()
  try {
    await exportTo(output, terminal)
  } catch (error) {
    output.destroy()
    await rm(file) // half an export is none
    throw error
  }
}

function exportTo(output: Writable, terminal: Terminal) {
  return withDatabase(
    terminal,
    async (sql) => {
      const progress = createProgress(terminal, 'clients exported')
      // Only a chunk or two of lines are in memory.
      const lines = Readable.from(toLines(createRegistrations(sql).everyone(), progress.tick), { highWaterMark: 1 })
      await pipeline(lines, output, { end: output !== terminal.stdout })
      progress.end()
    },
    0
  )
}

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
