import { rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { openFile } from './open-file.ts'
import type { Registration, Registrations } from './registrations.repository.ts'
import { createProgress, write } from './terminal-output.ts'
import { verb, withDatabase } from './verb.ts'

/** `export`: every registration, a line each, as `import` reads them. What was announced is not among it. */
export const exportClients = verb(
  'export [file]',
  'Write every registration as a line of JSON, to a new file or to stdout',
  'export clients.jsonl',
  'export --json | gzip > clients.jsonl.gz'
).action((file: string | undefined) =>
  withDatabase(async (_, registrations) => {
    const progress = createProgress('clients exported')
    // Some lines are written while the next ones are read; no more are in memory.
    const lines = Readable.from(exported(registrations, progress.tick), { highWaterMark: 1 })
    if (file !== undefined) await writeFile(lines, file)
    else for await (const text of lines) await write(text)
    progress.end()
  }, 0)
)

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
async function* exported({ everyone }: Registrations, tick: () => void) {
  for await (const registrations of everyone()) {
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
