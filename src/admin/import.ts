import { AdminError } from './admin-error.ts'
import { type Line, MAX_LINE, readLines } from './line-reader.ts'
import { openFile } from './open-file.ts'
import { createLineReader } from './registration-line.ts'
import type { Added, NewRegistration, Registrations } from './registrations.repository.ts'
import { createProgress, print } from './terminal-output.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** Registrations that one statement adds. */
const BATCH = 1000

const REFUSALS: Partial<Record<Added, string>> = {
  email_taken: 'this e-mail address is registered with another certificate',
  certificate_taken: 'this certificate is registered with another e-mail address',
  id_taken: 'another client has this id',
  certificate_not_yet_valid: 'this certificate is not valid yet'
}

interface Numbered {
  number: number
  registration: NewRegistration
}

/** `import`: adds the registrations of an export, or of anything that writes such lines. Again is harmless. */
export const importClients = verb(
  'import [file]',
  'Add registrations, each a line of JSON, from a file or stdin. What is wrong is reported by its line, and left out',
  'import clients.jsonl',
  'import < clients.jsonl'
).action((file: string | undefined, options: CommonOptions) =>
  withDatabase(async (_, registrations) => {
    const input = file === undefined ? process.stdin : (await openFile(file, 'r')).createReadStream()
    const counts = await addAll(registrations, readLines(input), options)
    await print(
      options,
      counts,
      `${counts.added} added, ${counts.present} there already, ${counts.expired} expired and left out, ${counts.refused} refused`
    )
    if (counts.refused > 0) throw new AdminError('failed', `lines that were refused: ${counts.refused}`)
  }, 0)
)

async function addAll(registrations: Registrations, lines: AsyncIterable<Line>, options: CommonOptions) {
  const counts = { added: 0, present: 0, expired: 0, refused: 0 }
  const progress = createProgress('lines read')
  const read = await createLineReader()
  let batch: Numbered[] = []

  function refuse(line: number, error: string, code: string) {
    counts.refused++
    console.error(options.json ? JSON.stringify({ line, error, code }) : `line ${line}: ${error} (${code})`)
  }

  /** A batch is committed as a whole, so that what was broken off can be done again. */
  async function flush() {
    const fates = await registrations.add(batch.map(({ registration }) => registration))
    for (const [n, { number }] of batch.entries()) {
      const fate = fates[n] as Added
      if (fate === 'added' || fate === 'present') counts[fate]++
      else if (fate === 'certificate_expired') counts.expired++
      else refuse(number, String(REFUSALS[fate]), fate)
    }
    batch = []
  }

  for await (const { number, bytes } of lines) {
    progress.tick()
    try {
      if (!bytes) throw Object.assign(new Error(`it is longer than ${MAX_LINE} bytes`), { code: 'line_too_long' })
      batch.push({ number, registration: read(bytes) })
    } catch (error) {
      const { message, code } = error as Error & { code: string }
      refuse(number, message, code)
    }
    if (batch.length === BATCH) await flush()
  }
  await flush()
  progress.end()
  return counts
}
