import t from 'tap'
import { createPool } from '../src/pool.ts'
import { createDatabase, eventually } from './helper.ts'

t.test('when the pool has ended, nothing is tried again, and no socket is left', async (t) => {
  const { url, sql } = await createDatabase(t)
  const underWay = () => sql`select from pg_stat_activity where query like 'select pg_sleep%'`
  const sockets = async () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  await underWay()
  const before = await sockets()

  const pool = createPool(url)
  const query = pool.persistently()`select pg_sleep(2)`
  const refused = t.rejects(query, { code: 'CONNECTION_ENDED' })
  await eventually(underWay, ({ count }) => count === 1)
  await pool.end()
  await refused
  await t.rejects(pool.persistently()`select pg_sleep(2)`, { code: 'CONNECTION_ENDED' })

  await eventually(sockets, (count) => count === before, 5)
  await eventually(underWay, ({ count }) => count === 0, 5)
})

t.test('a connection that is given up while it is being opened ends nothing else', async (t) => {
  const { url, sql } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  await sql.begin(async (transaction) => {
    await transaction`lock table pg_catalog.pg_type in access exclusive mode`
    await t.rejects(pool.once()`select from pg_catalog.pg_type limit 1`)
  })
  t.same([...(await pool.once()`select 1 as one`)], [{ one: 1 }])
})
