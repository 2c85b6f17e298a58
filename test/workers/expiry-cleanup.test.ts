import t from 'tap'
import { createPool } from '../../src/postgres/pool.ts'
import { createBroadcasts } from '../../src/presence/broadcasts.repository.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { start, withoutLog } from '../support/process.ts'

type Sql = Awaited<ReturnType<typeof createDatabase>>['sql']

/** Inserts clients with a broadcast that expires at that time. */
async function insertBroadcasts(sql: Sql, count: number, expiresAt: string) {
  await sql`
    with added as (
      insert into clients (email, certificate, not_before, not_after)
      select gen_random_uuid() || '@example.com', uuid_send(gen_random_uuid()), now(), now() + interval '1 day'
      from generate_series(1, ${count}) returning id
    )
    insert into broadcasts (client_id, port, addresses, last_announced_at, expires_at)
    select id, 1, '{10.0.0.1}', now() - interval '2 hours', now() + ${expiresAt}::interval from added`
}

const remaining = async (sql: Sql) => Number((await sql`select count(*) from broadcasts`)[0]?.count)

t.test('a cleanup deletes expired broadcasts in bounded batches, and nothing else', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  const broadcasts = createBroadcasts(pool)
  await insertBroadcasts(sql, 25, '-1 second')
  await insertBroadcasts(sql, 5, '1 hour')
  t.equal(await broadcasts.deleteExpired(10), 10)
  t.equal(await broadcasts.deleteExpired(10), 10)
  t.equal(await broadcasts.deleteExpired(10), 5)
  t.equal(await broadcasts.deleteExpired(10), 0)
  t.equal(await remaining(sql), 5)
  t.same(await sql`select count(*)::int from clients`, [{ count: 30 }], 'clients stay registered')
})

t.test('a cleanup is skipped while another is running', async (t) => {
  const { url, sql } = await createDatabase(t)
  await insertBroadcasts(sql, 10, '-1 second')
  await sql.begin(async (transaction) => {
    await transaction`lock table cleanup_lock`
    const other = await start(t, 'src/processes/cleanup.ts', { args: ['--once'], env: { DATABASE_URL: url } }).ended
    t.match(other, { code: 0, output: /another worker/ })
    t.equal(await remaining(sql), 10)
  })
  await start(t, 'src/processes/cleanup.ts', { args: ['--once'], env: { DATABASE_URL: url } }).ended
  t.equal(await remaining(sql), 0)
})

t.test('--once cleans up, logs how many, and ends', async (t) => {
  const { url, sql } = await createDatabase(t)
  await insertBroadcasts(sql, 2500, '-1 second')
  const { code, output } = await start(t, 'src/processes/cleanup.ts', { args: ['--once'], env: { DATABASE_URL: url } })
    .ended
  t.equal(code, 0)
  t.match(output, /"deleted":2500,"msg":"expired broadcasts deleted"/)
  t.equal(await remaining(sql), 0)
})

t.test('--once fails when the database is unavailable', async (t) => {
  const env = { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay' }
  const { code, output } = await start(t, 'src/processes/cleanup.ts', { args: ['--once'], env }).ended
  t.equal(code, 1)
  t.match(withoutLog(output), /^relay-tracker: .*ECONNREFUSED.*\n$/)
  t.match(await start(t, 'src/processes/cleanup.ts', { args: ['--twice'], env }).ended, { code: 1, output: /--twice/ })
})

t.test('the worker keeps its schedule, survives an outage, and ends on SIGTERM', async (t) => {
  const { url, sql } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const worker = start(t, 'src/processes/cleanup.ts', {
    env: { DATABASE_URL: network.url, CLEANUP_SCHEDULE: '* * * * * *', CLEANUP_PORT: '0' }
  })
  await insertBroadcasts(sql, 3, '-1 second')
  await insertBroadcasts(sql, 1, '1 hour')
  await worker.printed('"deleted":3')
  t.equal(await remaining(sql), 1)
  const [, origin] = worker.output().match(/listening at (http:[^"]+)/) as [string, string]
  t.match(await send(`${origin}/readyz`), { status: 200 })
  t.match(await send(`${origin}/api/relay/register`), { status: 404, body: { code: 'not_found' } })

  await network.set('refuse')
  await worker.printed('cleanup failed')
  t.match(await send(`${origin}/readyz`), { status: 503 })
  await network.set('pass')
  await insertBroadcasts(sql, 7, '-1 second')
  await worker.printed('"deleted":7')
  await eventually(
    () => send(`${origin}/readyz`),
    ({ status }) => status === 200
  )

  await network.set('forget')
  await insertBroadcasts(sql, 11, '-1 second')
  await worker.printed('"deleted":11')

  worker.child.kill('SIGTERM')
  t.match(await worker.ended, { code: 0 })
})
