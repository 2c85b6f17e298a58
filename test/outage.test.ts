import t from 'tap'
import { createDatabase, createPeer, eventually, registerPeer, send, startApi, startFaultyNetwork } from './helper.ts'

const UNAVAILABLE = {
  status: 503,
  headers: { 'retry-after': '2' },
  body: { error: String, code: 'service_unavailable' }
}

t.test('a database that is away: 503 at once, and service returns by itself', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay, origin } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  await relay.ready(alice)

  await network.set('refuse')
  const bob = await createPeer('bob')
  for (let round = 0; round < 3; round++) {
    t.match(await relay.list(alice), UNAVAILABLE)
    t.match(await relay.ready(alice), UNAVAILABLE)
    t.match(await relay.lookup(alice, alice.email), UNAVAILABLE)
    t.match(await relay.register(bob), UNAVAILABLE)
    t.match(await send(`${origin}/readyz`), UNAVAILABLE)
  }
  t.match(await send(`${origin}/livez`), { status: 200 }, 'the process is alive all the same')

  await network.set('pass')
  await eventually(
    () => relay.list(alice),
    ({ status }) => status === 200,
    5
  )
  t.match(await relay.lookup(alice, alice.email), { status: 200 }, 'what was acknowledged is still there')
  t.match(await relay.register(bob), { status: 200 })
  t.match(await send(`${origin}/readyz`), { status: 200 })
})

t.test('a database that does not answer: 503 before the caller gives up', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  t.match(await relay.list(alice), { status: 200 })
  await network.set('freeze')
  t.match(await relay.list(alice), UNAVAILABLE)
  await network.set('pass')
  await eventually(
    () => relay.list(alice),
    ({ status }) => status === 200,
    5
  )
})

t.test('connections that the database ended are replaced without the caller noticing', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await Promise.all(Array.from({ length: 20 }, () => relay.list(alice)))
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`
  const replies = await Promise.all(Array.from({ length: 20 }, () => relay.ready(alice)))
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
})

t.test('a connection that breaks in the middle of a statement', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    const reply = relay.ready(alice)
    const terminate = () => sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    await eventually(terminate, ({ count }) => count === 1)
    await transaction`commit`
    t.match(await reply, { status: 200 }, 'it is done again')
  })
})

t.test('a statement that takes too long is given up', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    t.match(await relay.ready(alice), UNAVAILABLE)
  })
  t.match(await relay.ready(alice), { status: 200 })
})
