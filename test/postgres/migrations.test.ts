import { spawn } from 'node:child_process'
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { VERSION } from '../../src/runtime/version.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { start } from '../support/process.ts'

const files = readdirSync('sql')
  .filter((name) => name !== 'rights.sql')
  .sort()

t.test('migrate applies every file in order, and none the second time', async (t) => {
  const { url } = await createDatabase(t, { empty: true })
  t.same(await migrate(url), files)
  t.same(await migrate(url), [])
})

t.test('several migrations at once apply each file once', async (t) => {
  const { url } = await createDatabase(t, { empty: true })
  const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(url)))
  t.same(applied.flat(), files)
})

t.test('a migration that fails changes nothing', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  await sql`create table broadcasts ()`
  await t.rejects(migrate(url), { message: /"broadcasts" already exists/ })
  t.same(await sql`select tablename from pg_tables where schemaname = 'public'`, [{ tablename: 'broadcasts' }])
  await sql`drop table broadcasts`
  t.same(await migrate(url), files)
})

t.test('npm run migrate says what it applied, or what failed', async (t) => {
  const { url } = await createDatabase(t, { empty: true })
  const run = () => start(t, 'src/processes/migrate.ts', { env: { DATABASE_URL: url } }).ended
  t.match(await run(), { code: 0, output: `applied ${files.join(', ')}\n` })
  t.match(await run(), { code: 0, output: `relay-tracker ${VERSION}: the schema is up to date\n` })
  const away = start(t, 'src/processes/migrate.ts', { env: { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay' } })
  t.match(await away.ended, { code: 1, output: /^relay-tracker: .*ECONNREFUSED.*\n$/ })
})

t.test('a migration that is killed halfway leaves nothing, and can be run again', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  const folder = t.testdir({ '998.do.long.sql': 'create table half_done (); select pg_sleep(600)' })
  cpSync('sql', folder, { recursive: true })
  const code = `
    const { migrate } = await import(${JSON.stringify(pathToFileURL('src/postgres/migrations.ts'))})
    await migrate(${JSON.stringify(url)}, ${JSON.stringify(folder)})`
  const killed = spawn(process.execPath, ['--input-type=module', '--eval', code])
  const sleeping = () => sql`select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`
  await eventually(sleeping, ({ count }) => count === 1)
  killed.kill('SIGKILL')
  await eventually(sleeping, ({ count }) => count === 0)
  writeFileSync(join(folder, '998.do.long.sql'), 'create table half_done ()')
  t.same(await migrate(url, folder), [...files, '998.do.long.sql'])
})

t.test('a migration waits for a lock no longer than calls can bear, and says who holds it', async (t) => {
  const { url, sql } = await createDatabase(t)
  const folder = t.testdir({ '998.do.change.sql': 'alter table clients add added integer' })
  cpSync('sql', folder, { recursive: true })
  let runs: Promise<unknown>[] = []
  await sql.begin(async (holder) => {
    const [session] = await holder`select pg_backend_pid() as pid, current_user as role`
    await holder`lock table clients in access share mode`
    // The second one waits for the first at least as long as the first waits for the lock.
    runs = [migrate(url, folder), migrate(url, folder)]
    const error = (await Promise.race(runs).catch((error) => error)) as Error
    const { pid, role } = session as { pid: number; role: string }
    const who = `lock timeout: process ${pid} \\(role ${role}, application relay-tracker\\) has been in a transaction since 20`
    t.match(error.message, new RegExp(`${who}.*pg_terminate_backend`))
  })
  t.match(await Promise.allSettled(runs).then((ends) => ends.map(({ status }) => status).sort()), [
    'fulfilled',
    'rejected'
  ])
  t.same(await migrate(url, folder), [])
})

t.test('a lock error without a lock holder is left as it is', async (t) => {
  const { url } = await createDatabase(t)
  const folder = t.testdir({ '998.do.fail.sql': "do $$ begin raise 'locked' using errcode = '55P03'; end $$" })
  cpSync('sql', folder, { recursive: true })
  await t.rejects(migrate(url, folder), { message: 'locked', code: '55P03' })
})

t.test('migrate works wherever the project is', async (t) => {
  const { url } = await createDatabase(t, { empty: true })
  const folder = join(t.testdir({ 'a [b] {c,d} (e)': {} }), 'a [b] {c,d} (e)')
  await t.rejects(migrate(url, folder), { message: `there are no migrations in ${folder}` })
  cpSync('sql', folder, { recursive: true })
  t.same(await migrate(url, folder), files)
})

t.test('the schema refuses what the code should never send', async (t) => {
  const { sql } = await createDatabase(t)
  const [client] = await sql`insert into clients (email, certificate, not_before, not_after)
    values ('alice@example.com', 'der', now(), now() + interval '1 day') returning id, fingerprint`
  t.equal(client?.fingerprint.length, 43, 'it computes the fingerprint itself')
  for (const [email, certificate] of [
    ['Bob@example.com', 'b'],
    ['alice@example.com', 'b'],
    ['bob@example.com', 'der'],
    ['bob@example.com', ''],
    [`${'b'.repeat(255)}`, 'b']
  ] as [string, string][]) {
    await t.rejects(sql`insert into clients (email, certificate, not_before, not_after)
      values (${email}, ${Buffer.from(certificate)}, now(), now() + interval '1 day')`)
  }
  for (const [port, addresses, capabilities] of [
    [0, '{10.0.0.1}', '{}'],
    [65536, '{10.0.0.1}', '{}'],
    [1, '{}', '{}'],
    [1, '{localhost}', '{}'],
    [1, '{10.0.0.1}', '[]'],
    [1, '{10.0.0.1}', JSON.stringify({ a: 'x'.repeat(4096) })]
  ] as [number, string, string][]) {
    await t.rejects(sql`insert into broadcasts (client_id, port, addresses, capabilities, expires_at) values
      (${client?.id}, ${port}, ${addresses}::text::inet[], ${capabilities}::text::json, now() + interval '1 hour')`)
  }
})

t.test('a listener that hangs is disconnected before it fills the queue of notifications', async (t) => {
  const { url } = await createDatabase(t)
  const sql = connect(url, { max: 1 })
  t.teardown(() => sql.end())
  t.match(await sql`show idle_in_transaction_session_timeout`, [{ idle_in_transaction_session_timeout: '10min' }])
  t.match(await sql`show tcp_user_timeout`, [{ tcp_user_timeout: '60000' }])
})

t.test('an announcement of the previous version, or of this one, has one time under both names', async (t) => {
  const { sql } = await createDatabase(t)
  await sql`insert into clients (email, certificate, not_before, not_after)
    values ('alice@example.com', 'der', now(), now() + interval '1 day')`
  for (const column of ['last_announced_at', 'last_heartbeat', 'last_announced_at']) {
    await sql`insert into broadcasts (client_id, port, addresses, expires_at)
      select id, 1, '{10.0.0.1}', now() + interval '1 hour' from clients
      on conflict (client_id) do update set ${sql(column)} = excluded.${sql(column)}`
    const [{ ages }] = await sql<[{ ages: number[] }]>`select json_build_array(
      extract(epoch from now() - last_announced_at)::integer, extract(epoch from now() - last_heartbeat)::integer
    ) as ages from broadcasts`
    t.same(ages, [0, 0], column)
    await sql`update broadcasts set last_announced_at = now() - interval '1 hour'`
    t.match(await sql`select extract(epoch from now() - last_heartbeat)::integer as age from broadcasts`, [
      { age: 3600 }
    ])
  }
})
