import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { createDatabase } from '../support/database.ts'
import { toTable } from '../support/figures.ts'
import { manyCertificates } from '../support/many-certificates.ts'
import { start } from '../support/process.ts'

/** `npm run test:import`: imports and exports as many registrations as a large tracker has. */
const REGISTRATIONS = Number(process.env.REGISTRATIONS || 1_000_000)
/** MiB of the command, however many registrations there are. */
const MAX_MEMORY = 500

t.test(`${REGISTRATIONS} registrations are imported and exported`, async (t) => {
  const cwd = t.testdir({})
  const { url, sql } = await createDatabase(t)
  const rows: Record<string, string | number>[] = []
  const run = async (...args: string[]) => {
    const began = performance.now()
    const { memory, code } = await measured(t, args, url, cwd)
    const seconds = (performance.now() - began) / 1000
    rows.push({ command: args[0] as string, 'time (s)': seconds.toFixed(0), 'peak memory (MiB)': memory.toFixed(0) })
    t.equal(code, 0)
    t.ok(memory < MAX_MEMORY, `less than ${MAX_MEMORY} MiB`)
  }

  await pipeline(Readable.from(lines()), createWriteStream(join(cwd, 'in')))
  await run('import', 'in')
  t.same(await sql`select count(*)::integer from clients`, [{ count: REGISTRATIONS }])
  await run('export', 'out')
  console.log(toTable(rows))
})

async function* lines() {
  let n = 0
  for await (const certificate of manyCertificates(REGISTRATIONS)) {
    yield `${JSON.stringify({ email: `peer-${++n}@example.com`, certificate })}\n`
  }
}

/** How it ends, and the most memory that it used, in MiB. */
async function measured(t: Test, args: string[], database: string, cwd: string) {
  const { child, ended } = start(t, 'src/processes/admin.ts', {
    args,
    env: { DATABASE_URL: database, NODE_OPTIONS: '' },
    cwd
  })
  let memory = 0
  const timer = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    memory = Math.max(memory, Number(status.match(/^VmHWM:\s+(\d+) kB$/m)?.[1] ?? 0) / 1024)
  }, 200)
  const { code, output } = await ended
  clearInterval(timer)
  console.error(output)
  return { code, memory }
}
