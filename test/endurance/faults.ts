import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually, untilIncludes } from '../support/eventually.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { startStack } from '../support/stack.ts'
import { between, killed, LENGTH, MAX_RECOVERY, restarted, underLoad } from './under-load.ts'

t.test('the stack recovers from every fault under load', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, { ...NO_EDGE_LIMITS, CLEANUP_SCHEDULE: '* * * * * *' })
  const [api] = (await stack.containerIds('api')) as [string]
  const [postgres] = (await stack.containerIds('postgres')) as [string]
  const [nginx] = (await stack.containerIds('nginx')) as [string]
  const [cleanup] = (await stack.containerIds('cleanup')) as [string]

  await underLoad(t, stack, 'API: SIGKILL', () => killed(stack, api))

  await underLoad(t, stack, 'PostgreSQL: SIGKILL', () => killed(stack, postgres))

  await underLoad(t, stack, 'PostgreSQL: SIGKILL of one backend', async () => {
    const isReinitialized = async () => (await stack.logs(postgres)).split('reinitializing').length
    const before = await isReinitialized()
    const start = Date.now()
    const [[pid]] = (await stack.query(
      "select pid from pg_stat_activity where application_name = 'relay-tracker' limit 1"
    )) as [[string]]
    await stack.docker('exec', '--user', 'postgres', postgres, 'bash', '-c', `kill -9 ${pid}`)
    await eventually(isReinitialized, (count) => count > before)
    return { start, end: Date.now() }
  })

  await underLoad(t, stack, 'PostgreSQL: restarted', () =>
    restarted(stack, postgres, () => stack.docker('restart', postgres))
  )

  await underLoad(t, stack, 'PostgreSQL: frozen', () =>
    between(
      () => stack.signal(postgres, 'STOP'),
      () => stack.signal(postgres, 'CONT')
    )
  )

  await underLoad(t, stack, 'PostgreSQL: out of connections', async () => {
    const start = Date.now()
    const output = await stack.docker('exec', api, 'node', '--input-type=module', '--eval', HOARD)
    t.match(output, /53300/, 'PostgreSQL had no connection left')
    return { start, end: Date.now() }
  })

  await underLoad(t, stack, 'API and PostgreSQL: network cut', () =>
    between(
      () => stack.docker('network', 'disconnect', `${stack.project}_database`, api),
      () => stack.docker('network', 'connect', `${stack.project}_database`, api)
    )
  )

  await underLoad(t, stack, 'nginx: SIGKILL', () => killed(stack, nginx), { isEdgeGone: true })

  await underLoad(
    t,
    stack,
    'nginx: SIGKILL of one worker',
    async () => {
      const start = Date.now()
      const kill = 'cd /proc; for p in [0-9]*; do grep -q "[w]orker process" $p/cmdline && kill -9 $p && exit; done'
      await stack.docker('exec', '--user', 'nginx', nginx, 'sh', '-c', kill)
      await untilIncludes(() => stack.logs(nginx), 'exited on signal 9')
      return { start, end: Date.now() }
    },
    { isEdgeGone: true }
  )

  await underLoad(
    t,
    stack,
    'worker: SIGKILL',
    async () => {
      const fault = await killed(stack, cleanup)
      await stack.query(`
      insert into broadcasts (client_id, port, addresses, expires_at, last_announced_at)
      select id, 1, '{192.0.2.1}', now() - interval '1 s', now() - interval '2 s' from clients
      where id not in (select client_id from broadcasts) limit 1`)
      await eventually(
        () => stack.query('select count(*) from broadcasts where expires_at <= now()'),
        (rows) => rows[0]?.[0] === '0',
        MAX_RECOVERY / 1000
      )
      t.pass('it cleans up again')
      return fault
    },
    { isNoticed: false }
  )
})

/** Runs beside the API: ends the API's connections, and takes all that PostgreSQL has to give. */
const HOARD = `
  import { loadConfig } from '/app/src/runtime/config.ts'
  import postgres from 'postgres'
  const { DATABASE_URL } = await loadConfig()
  const one = () => postgres(DATABASE_URL, { max: 1, backoff: () => 0.05, connect_timeout: 30 })
  const refusals = new Set()
  const hoard = Array.from({ length: 110 }, one)
  await hoard[0]\`select 1\`
  const end = Date.now() + ${LENGTH}
  const take = async (sql) => {
    while (Date.now() < end) await sql\`select pg_sleep(\${(end - Date.now()) / 1000})\`.catch(({ code }) => refusals.add(code))
  }
  const held = hoard.slice(1).map(take)
  while (Date.now() < end) {
    await hoard[0]\`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay-tracker' and usename = current_user\`
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await Promise.all(held)
  console.log([...refusals].join())
  process.exit()`
