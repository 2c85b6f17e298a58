import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { startStack } from '../support/stack.ts'
import { underLoad } from './under-load.ts'

t.test('a migration killed half way under load changes nothing', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  const [postgres] = (await stack.containerIds('postgres')) as [string]
  const file = join(t.testdir({}), 'long.sql')

  const migrate = (name: string, ...options: string[]) =>
    stack.compose('run', '--volume', `${file}:/app/sql/${name}:ro`, ...options, 'migrate')
  const sleeping = () => stack.query("select pid from pg_stat_activity where wait_event = 'PgSleep'")

  /** From the start of the migration that is killed until it has run again. */
  async function killedHalfWay(name: string, kill: (container: string, pid: string) => Promise<unknown>) {
    const table = name.replace(/\W/g, '_')
    writeFileSync(
      file,
      `create table "${table}" (); select pg_sleep(6); alter table "${table}" add column done boolean`
    )
    const start = Date.now()
    const container = (await migrate(name, '--detach')).trim()
    const [[pid]] = (await eventually(sleeping, (rows) => rows.length === 1)) as [[string]]
    await kill(container, pid)
    await eventually(sleeping, (rows) => rows.length === 0, 5)
    t.same(await stack.query(`select to_regclass('"${table}"') is null`), [['t']], 'nothing of it was done')
    t.match(await migrate(name, '--rm', '--no-TTY'), `applied ${name}`, 'run again, it completes')
    await stack.docker('rm', '--force', container)
    return { start, end: Date.now() }
  }

  await underLoad(
    t,
    stack,
    'migration: SIGKILL half way, run again',
    () => killedHalfWay('997.do.killed.sql', (container) => stack.signal(container, 'KILL')),
    { isNoticed: false }
  )

  await underLoad(t, stack, 'migration: SIGKILL of its backend half way, run again', () =>
    killedHalfWay('998.do.backend.sql', async (_, pid) => {
      await stack.docker('exec', '--user', 'postgres', postgres, 'bash', '-c', `kill -9 ${pid}`)
      await eventually(
        () => stack.query('select 1').catch(() => []),
        (rows) => rows.length === 1
      )
    })
  )
})
