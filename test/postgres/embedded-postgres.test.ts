import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startEmbeddedPostgres } from '../../src/postgres/embedded-postgres.ts'
import { startProgram } from '../../src/postgres/embedded-program.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { eventually } from '../support/eventually.ts'
import { follow } from '../support/process.ts'

const MODULE = join(import.meta.dirname, '../../src/postgres/embedded-postgres.ts')

/** The process id in `postmaster.pid`. */
const postmaster = (dir: string) =>
  Number(readFileSync(join(dir, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0])

function isRunning(pid: number) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const until = (isSo: () => boolean) => eventually(async () => isSo(), Boolean)

async function start(t: Test, dir: string) {
  const lines: string[] = []
  const tell = (line: string) => void lines.push(line)
  const database = await startEmbeddedPostgres(dir, { info: tell, warn: tell, error: tell })
  t.teardown(database.stop)
  const isUp = async () => {
    const sql = connect(database.url, { max: 1 })
    const rows = await sql`select 1`.finally(() => sql.end())
    return rows.length === 1
  }
  return { ...database, lines, isUp }
}

/** Starts a PostgreSQL and prints "up". */
const script = (dir: string) => `import { startEmbeddedPostgres } from ${JSON.stringify(MODULE)}
  try { await startEmbeddedPostgres(${JSON.stringify(dir)}, console) } catch ({ message }) { console.log(message); process.exit(1) }
  console.log('up')`

/** A process with a running PostgreSQL, to be killed. */
async function startAndKill(dir: string) {
  const { child, printed } = follow(spawn(process.execPath, ['--input-type=module', '--eval', script(dir)]))
  await printed('up')
  const pid = postmaster(dir)
  return {
    pid,
    async kill() {
      child.kill('SIGKILL')
      await new Promise((resolve) => child.once('exit', resolve))
    }
  }
}

t.test('a cluster that could not be created is created the next time', async (t) => {
  const dir = t.testdir({ postgres: { 'data.1234': { PG_VERSION: '18' } } })
  // Files are limited to 5 MB, but one of the write-ahead log has 16.
  const limited = ['-c', 'ulimit -f 10000; exec "$0" --input-type=module --eval "$1"', process.execPath, script(dir)]
  const { ended } = follow(spawn('/bin/sh', limited))
  t.match(await ended, { code: 1, output: /^the embedded PostgreSQL failed: .*\n$/ })
  const { isUp } = await start(t, dir)
  t.ok(await isUp())
  t.same(readdirSync(join(dir, 'postgres')).sort(), ['data', 'password'])
})

t.test('PostgreSQL ends with its process, however that happens', async (t) => {
  const dir = t.testdir({})
  const killed = await startAndKill(dir)
  await killed.kill()
  await until(() => !isRunning(killed.pid))
  t.notOk(existsSync(join(dir, 'postgres/data/postmaster.pid')), 'and cleanly')
})

t.test('a start waits for the PostgreSQL of an earlier run to end', async (t) => {
  const dir = t.testdir({})
  const killed = await startAndKill(dir)
  process.kill(killed.pid, 'SIGSTOP')
  await killed.kill()
  const next = start(t, dir)
  await new Promise((resolve) => setTimeout(resolve, 2500))
  process.kill(killed.pid, 'SIGCONT')
  const { lines, isUp } = await next
  t.same(
    lines,
    ['the PostgreSQL of an earlier run has not ended yet, waiting up to 70 s; nothing is served meanwhile'],
    'logged once'
  )
  t.ok(await isUp())
})

t.test('a process with the id of the last PostgreSQL is left alone', async (t) => {
  const dir = t.testdir({})
  const first = await start(t, dir)
  const pidFile = join(dir, 'postgres/data/postmaster.pid')
  const text = readFileSync(pidFile, 'utf8')
  await first.stop()
  const other = spawn('sleep', ['600'])
  t.teardown(() => other.kill('SIGKILL'))
  writeFileSync(pidFile, text.replace(/^\d+/, String(other.pid)))
  const second = await start(t, dir)
  t.ok(await second.isUp())
  await second.stop()
  t.equal(other.exitCode ?? other.signalCode, null)
})

t.test('PostgreSQL starts in a folder whose path is too long for a socket', async (t) => {
  const { isUp } = await start(t, join(t.testdir({}), ...Array.from({ length: 3 }, () => 'd'.repeat(80))))
  t.ok(await isUp())
})

t.test('PostgreSQL is restarted when it dies, at most five times within a minute', async (t) => {
  const dir = t.testdir({})
  const database = await start(t, dir)
  const running = database.keepRunning()
  process.kill(postmaster(dir), 'SIGKILL')
  await until(() => database.lines.at(-1) === 'PostgreSQL: database system is ready to accept connections')
  t.equal(database.lines[0], 'PostgreSQL has ended (SIGKILL), restarting; peers get 503 until it is back')
  t.ok(await database.isUp())

  const { now } = Date
  t.teardown(() => Object.assign(Date, { now }))
  Date.now = () => now() + 61_000
  rmSync(join(dir, 'postgres/data/postgresql.conf'))
  process.kill(postmaster(dir), 'SIGKILL')
  await t.rejects(running, { message: /^the embedded PostgreSQL does not stay up: .*postgresql\.conf/ })
  t.equal(database.lines.filter((line) => line.startsWith('PostgreSQL has ended')).length, 1 + 5)
})

t.test('PostgreSQL is not restarted after a stop', async (t) => {
  const dir = t.testdir({})
  const database = await start(t, dir)
  const running = database.keepRunning()
  process.kill(postmaster(dir), 'SIGKILL')
  await until(() => database.lines.length > 0)
  await database.stop()
  await running
  t.equal(database.lines.length, 1)
})

t.test('a program that ended gives its reason', async (t) => {
  const reasonOf = async (script: string, program = '/bin/sh') =>
    (await startProgram({ prefix: [], options: {} }, program, ['-c', script]).ended).reason
  const say = (...lines: string[]) => lines.map((line) => `echo '${line}' >&2;`).join(' ')
  const first = say('FATAL:  disk full', 'PANIC:  much worse', 'LOG:  shut down')
  t.equal(await reasonOf(`${first} exit 1`), 'disk full', 'the first fault')
  t.equal(await reasonOf(`${say('x: error: no', 'removing')} exit 1`), 'no', 'also of initdb')
  t.equal(await reasonOf(`${say('FATAL:  the database system is starting up', 'at last')} exit 1`), 'at last')
  t.equal(await reasonOf(`${first} ${say('all terminated; reinitializing', 'ERROR:  again')} exit 1`), 'again')
  t.equal(await reasonOf(`${first} kill -9 $$`), 'SIGKILL')
  t.equal(await reasonOf('exit 3'), 'exit code 3')
  t.equal(await reasonOf('', '/nonexistent'), 'spawn /nonexistent ENOENT')
})
