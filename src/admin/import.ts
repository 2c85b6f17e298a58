import { open } from 'node:fs/promises'
import { CommandError, type Terminal } from '../../peer/src/cli/terminal.ts'
import { withDatabase } from './admin-database.ts'
import { createProgress } from './import-progress.ts'
import { type Line, MAX_LINE, readLines } from './line-reader.ts'
import { createLineReader } from './registration-line.ts'
import { type Added, createRegistrations, type NewRegistration } from './registrations.repository.ts'

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

/** `import`: adds the registrations of an export, or of any program that writes such lines. It is safe to repeat. */
export async function importClients(terminal: Terminal, file: string | undefined) {
  const input = file === undefined ? terminal.stdin : (await open(file)).createReadStream()
  const counts = await withDatabase(terminal, (sql) => addAll(terminal, createRegistrations(sql), readLines(input)), 0)
  const { added, present, expired, refused } = counts
  terminal.print(counts, `${added} added, ${present} already there, ${expired} expired and skipped, ${refused} refused`)
  if (refused > 0) throw new CommandError('failed', `lines that were refused: ${refused}`)
}

async function addAll(terminal: Terminal, { add }: ReturnType<typeof createRegistrations>, lines: AsyncIterable<Line>) {
  const counts = { added: 0, present: 0, expired: 0, refused: 0 }
  const progress = createProgress(terminal, 'lines read')
  const read = await createLineReader()
  let batch: Numbered[] = []

  function refuse(line: number, error: string, code: string) {
    counts.refused++
    terminal.warn(terminal.json ? JSON.stringify({ line, error, code }) : `line ${line}: ${error} (${code})`)
  }

  /** Commits a batch as a whole, so that an interrupted import can be repeated. */
  async function flush() {
    const fates = await add(batch.map(({ registration }) => registration))
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
