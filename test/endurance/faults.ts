import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { toTable } from '../figures.ts'
import { eventually, skipWithoutContainers } from '../helper.ts'
import { NO_EDGE_LIMITS } from '../limits.ts'
import { lostIn, type Outcome, startLoad } from '../load.ts'
import { type Stack, startStack } from '../stack.ts'

/** From when until when something was broken. */
interface Fault {
  start: number
  end: number
}

/** Milliseconds: of load before each fault, of a fault whose length is ours to choose, and of load after it. */
const BEFORE = 2000
const LENGTH = 5000
const AFTER = 5500

/** Milliseconds in which an error has to come, and in which service has to be back. */
const MAX_ERROR = 3000
const MAX_RECOVERY = 5000

const rows: Record<string, string | number>[] = []

t.test('faults under load', { skip: skipWithoutContainers }, async (t) => {
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

  // While nginx is gone nobody is there to answer: what was under way is cut off, and connections are refused.
  await underLoad(t, stack, 'nginx: SIGKILL', () => killed(stack, nginx), { isEdgeGone: true })

  await underLoad(
    t,
    stack,
    'nginx: SIGKILL of one worker',
    async () => {
      const start = Date.now()
      const kill = 'cd /proc; for p in [0-9]*; do grep -q "[w]orker process" $p/cmdline && kill -9 $p && exit; done'
      await stack.docker('exec', '--user', 'nginx', nginx, 'sh', '-c', kill)
      await eventually(
        () => stack.logs(nginx),
        (log) => log.includes('exited on signal 9')
      )
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
      insert into broadcasts (client_id, port, addresses, expires_at, last_heartbeat)
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

t.teardown(() => console.log(toTable(rows)))

/** One fault, with calls before, during and after it, and all that has to hold. */
async function underLoad(
  t: Test,
  stack: Stack,
  name: string,
  inflict: () => Promise<Fault>,
  { isEdgeGone = false, isNoticed = true } = {}
) {
  await t.test(name, async (t) => {
    const load = await startLoad(stack.origin)
    t.teardown(load.stop)
    await pause(BEFORE)
    const fault = await inflict()
    const isBack = ({ start, status }: Outcome) => start >= fault.end && status === 200
    await eventually(
      async () => load.outcomes.find(isBack),
      (outcome) => outcome !== undefined
    )
    await pause(Math.max(0, fault.end + AFTER - Date.now()))
    await load.stop()

    const errors = load.outcomes.filter(({ status }) => status !== 200)
    const unanswered = errors.filter(({ status }) => status === 0)
    const unavailable = errors.filter(({ status, retryAfter }) => status === 503 && Number(retryAfter) > 0)
    const others = errors.filter((error) => !unanswered.includes(error) && !unavailable.includes(error))
    const slowest = Math.max(0, ...errors.map(({ start, end }) => end - start))
    const back = (load.outcomes.find(isBack)?.end ?? Number.NaN) - fault.end
    const lastError = Math.max(0, ...errors.map(({ end }) => end - fault.end))
    const lost = await lostIn(stack, load)
    rows.push({
      fault: name,
      'lasted (s)': seconds(fault.end - fault.start),
      calls: load.outcomes.length,
      'answered 200': load.outcomes.length - errors.length,
      'answered 503': unavailable.length,
      'no answer': unanswered.length,
      other: others.length,
      'slowest error (s)': seconds(slowest),
      'first 200 after (s)': seconds(back),
      'last error after (s)': seconds(lastError),
      lost: lost.length
    })

    t.same(lost, [], 'every 200 that a caller got is in the database')
    t.same(others, [], 'every error is a 503 with Retry-After')
    if (!isEdgeGone) t.same(unanswered, [], 'every call is answered')
    if (isNoticed) t.ok(errors.length > 0, 'the fault was felt')
    else t.same(errors, [], 'nobody noticed')
    t.ok(slowest <= MAX_ERROR, `the slowest error took ${slowest} ms`)
    t.ok(back <= MAX_RECOVERY, `the first call was answered ${back} ms after the fault`)
    t.ok(lastError <= MAX_RECOVERY, `the last error came ${lastError} ms after the fault`)
  })
}

/** From the death of a container's first process until Docker runs it again, by itself. */
async function killed(stack: Stack, id: string) {
  return restarted(stack, id, () => stack.signal(id, 'KILL'))
}

async function restarted(stack: Stack, id: string, act: () => Promise<unknown>): Promise<Fault> {
  const state = async () => (await stack.inspect(id))[0].State
  const { StartedAt: before } = await state()
  await act()
  const { StartedAt, FinishedAt } = await eventually(state, ({ Running, StartedAt }) => Running && StartedAt !== before)
  return { start: Date.parse(FinishedAt), end: Date.parse(StartedAt) }
}

async function between(begin: () => Promise<unknown>, end: () => Promise<unknown>): Promise<Fault> {
  await begin()
  const start = Date.now()
  await pause(LENGTH)
  await end()
  return { start, end: Date.now() }
}

/** Runs beside the API: ends the connections that the API has, and takes every one that PostgreSQL can give. */
const HOARD = `
  import { loadConfig } from '/app/src/config.ts'
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

const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2)
