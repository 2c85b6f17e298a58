import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { createPool } from '../../src/postgres/pool.ts'
import { openClient } from '../../src/postgres/postgres-client.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'

t.test('a pool that has ended retries nothing and leaves no socket', async (t) => {
  const { patient, sql } = await createDatabase(t)
  const sleeping = () => sql`select from pg_stat_activity
    where datname = current_database() and query like 'select pg_sleep%'`
  const sockets = async () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  await sleeping()
  const before = await sockets()

  const pool = createPool(patient)
  const query = pool.queryIdempotent()`select pg_sleep(10)`
  const refused = t.rejects(query, { code: 'CONNECTION_ENDED' })
  await eventually(sleeping, ({ count }) => count === 1)
  await pool.end()
  await refused
  await t.rejects(pool.queryIdempotent()`select pg_sleep(10)`, { code: 'CONNECTION_ENDED' })

  await eventually(sockets, (count) => count === before, 5)
  await eventually(sleeping, ({ count }) => count === 0)
})

t.test('a connection that is given up while being opened breaks nothing else', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  await sql.begin(async (transaction) => {
    await transaction`lock table pg_catalog.pg_type in access exclusive mode`
    await t.rejects(pool.query()`select from pg_catalog.pg_type limit 1`)
  })
  t.same([...(await pool.query()`select 1 as one`)], [{ one: 1 }])
})

t.test('connections that are discarded while being opened are closed', async (t) => {
  const { url, sql } = await createDatabase(t)
  for (let milliseconds = 0; milliseconds < 20; milliseconds += 0.5) {
    const client = openClient(url, { max: 1 })
    const query = client.sql`select 1`.catch((error) => error)
    await pause(milliseconds)
    client.discard()
    await query
  }
  await eventually(
    () => sql`select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    ({ count }) => count === 0,
    5
  )
})

t.test('a statement that PostgreSQL undid to end a deadlock runs again', async (t) => {
  const { patient, sql } = await createDatabase(t)
  // Only the deadlock ends the wait. PostgreSQL looks for it early, because the machine may be slow.
  const pool = createPool(`${patient}&deadlock_timeout=100`)
  t.teardown(pool.end)
  await sql`create table places as select id, 0 as visits from generate_series(1, 2) id`
  const visit = (first: number, second: number) =>
    pool.query()`
      with start as (
        update places set visits = visits + 1 where id = ${first} returning pg_advisory_xact_lock_shared(1)
      )
      update places set visits = visits + 1 where id = ${second} and exists (select from start)`
  const visits: Promise<unknown>[] = []
  await sql.begin(async (gate) => {
    await gate`select pg_advisory_xact_lock(1)`
    visits.push(visit(1, 2), visit(2, 1))
    await lockedOut(sql, 2)
  })
  await Promise.all(visits)
  t.same(await sql`select visits from places`, [{ visits: 2 }, { visits: 2 }])
  // The statistics arrive when the connections end.
  await pool.end()
  await eventually(
    () => sql`select from pg_stat_database where datname = current_database() and deadlocks > 0`,
    ({ count }) => count === 1
  )
})

t.test('a statement that PostgreSQL undid after a long wait for a lock runs again', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(`${url}?lock_timeout=1500`)
  t.teardown(pool.end)
  await sql`create table places as select 0 as visits`
  await sql`create sequence attempts`
  let visit: Promise<unknown> | undefined
  await sql.begin(async (other) => {
    await other`update places set visits = 1`
    visit = pool.query()`update places set visits = visits + 1 where nextval('attempts') > 0`
    await eventually(
      () => sql`select from attempts where last_value = 2`,
      ({ count }) => count === 1
    )
  })
  await visit
  t.same(await sql`select visits from places`, [{ visits: 2 }])
})

t.test('an item whose row was removed while it waited for a lock is asked for again', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(`${url}?lock_timeout=1500`)
  t.teardown(pool.end)
  await sql`create table places (id integer primary key)`
  await sql`insert into places values (1)`
  await sql`create table visits (place integer references places)`
  let attempts = 0
  const visit = pool.coalesce(async (ids: number[], query) => {
    attempts++
    const rows = await query<{ place: number }[]>`
      insert into visits select id from places where id = any(${`{${ids.join()}}`}::integer[]) returning place`
    return ids.map((id) => rows.some(({ place }) => place === id))
  })
  let isVisited: Promise<boolean> | undefined
  await sql.begin(async (other) => {
    await other`delete from places`
    isVisited = visit(1)
    await eventually(
      async () => attempts,
      (attempts) => attempts === 2
    )
    await lockedOut(sql)
  })
  t.equal(await isVisited, false, 'the place is gone')
  t.equal(attempts, 3)
})

t.test('a session that has become read-only is discarded', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  await sql`create table places (id integer)`
  await pool.query()`set session characteristics as transaction read only`
  await t.rejects(pool.query()`insert into places values (1)`, { code: '25006' })
  await pool.query()`insert into places values (2)`
  t.same(await sql`select id from places`, [{ id: 2 }])
})

t.test('the number of waiting queries is limited, whether or not their callers are still there', async (t) => {
  const { patient, sql } = await createDatabase(t)
  const pool = createPool(patient)
  t.teardown(pool.end)
  await sql`create table busy ()`
  await sql.begin(async (transaction) => {
    await transaction`lock table busy`
    const gone = new AbortController()
    const waiting = Array.from({ length: 1000 }, () => pool.query(gone.signal)`select from busy`)
    gone.abort(new Error('gone'))
    const refused = t.rejects(pool.queryIdempotent()`select 1`, { code: 'service_unavailable' })
    for (const { status } of await Promise.allSettled(waiting)) if (status !== 'rejected') t.fail('it waits')
    await refused
  })
  await eventually(
    () => pool.query()`select 1 as one`.catch(() => []),
    ([row]) => row !== undefined
  )
})

t.test('a full queue of notifications makes the pool ask PostgreSQL to look again', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  await t.rejects(pool.query()`do $$ begin raise sqlstate '54000'; end $$`, { code: '54000' })
  await eventually(
    () => sql`select from pg_stat_activity
      where datname = current_database() and query = 'select pg_notification_queue_usage()'`,
    ({ count }) => count > 0
  )
})
