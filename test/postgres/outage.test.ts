import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { createPeer, edgeHeader, registerPeer } from '../support/peers.ts'

const UNAVAILABLE = {
  status: 503,
  headers: { 'retry-after': '2' },
  body: { error: String, code: 'service_unavailable' }
}

t.test('an unavailable database means 503 at once, and service resumes by itself', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay, internal } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  await relay.ready(alice)

  await network.set('refuse')
  const bob = await createPeer('bob')
  for (let round = 0; round < 3; round++) {
    t.match(await relay.list(alice), UNAVAILABLE)
    t.match(await relay.ready(alice), UNAVAILABLE)
    t.match(await relay.lookup(alice, alice.email), UNAVAILABLE)
    t.match(await relay.register(bob), UNAVAILABLE)
    t.match(await send(`${internal}/readyz`), UNAVAILABLE)
  }
  t.match(await send(`${internal}/livez`), { status: 200 }, 'the process is alive all the same')

  await network.set('pass')
  await eventually(
    () => relay.list(alice),
    ({ status }) => status === 200,
    5
  )
  t.match(await relay.lookup(alice, alice.email), { status: 200 }, 'what was acknowledged is still there')
  t.match(await relay.register(bob), { status: 200 })
  t.match(await send(`${internal}/readyz`), { status: 200 })
})

t.test('a database that falls silent while a connection is opened means 503', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { internal } = await startApi(t, { database: url })
  await sql.begin(async (transaction) => {
    // Statements that have to look up a type get no answer.
    await transaction`lock table pg_catalog.pg_type in access exclusive mode`
    t.match(await send(`${internal}/readyz`), UNAVAILABLE)
    await setTimeout(500)
  })
  await eventually(
    () => send(`${internal}/readyz`),
    ({ status }) => status === 200
  )
})

t.test('a database that does not answer means 503 before the caller gives up', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay, internal } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  const bob = await createPeer('bob')
  t.match(await relay.list(alice), { status: 200 })
  await network.set('freeze')
  const calls = {
    list: () => relay.list(alice),
    lookup: () => relay.lookup(alice, alice.email),
    ready: () => relay.ready(alice),
    register: () => relay.register(bob),
    readyz: () => send(`${internal}/readyz`)
  }
  for (const [name, call] of Object.entries(calls)) t.match(await call(), UNAVAILABLE, name)
  await network.set('pass')
  for (const [name, call] of Object.entries(calls)) {
    await eventually(call, ({ status }) => status !== 503, 5)
    t.pass(`${name} is answered again`)
  }
})

t.test('the time that a body takes to arrive does not count', async (t) => {
  const { relay, port } = await startApi(t)
  const alice = await registerPeer(relay)
  const body = JSON.stringify(ANNOUNCEMENT)
  const headers = { ...edgeHeader(alice), 'content-type': 'application/json', 'content-length': body.length }
  const req = request({ port, method: 'POST', path: '/api/relay/broadcast/ready', headers, agent: false })
  req.write(body.slice(0, 5))
  await setTimeout(3000)
  req.end(body.slice(5))
  const [response] = await once(req, 'response')
  t.equal(response.resume().statusCode, 200)
})

t.test(
  'an announcement that was refused is not executed later, when a newer one may have been acknowledged',
  async (t) => {
    const { url: database, sql } = await createDatabase(t)
    const { relay } = await startApi(t, { database })
    const alice = await registerPeer(relay)
    await sql.unsafe(`
    create sequence announcements;
    create function count_announcement() returns trigger language plpgsql as
      $$ begin perform nextval('announcements'); return new; end $$;
    create trigger count_announcement before insert on broadcasts
      for each row execute function count_announcement()`)
    await sql.begin(async (transaction) => {
      await transaction`lock table broadcasts in exclusive mode`
      const replies = await Promise.all(Array.from({ length: 100 }, () => relay.ready(alice)))
      t.same(new Set(replies.map(({ status }) => status)), new Set([503]))
    })
    await setTimeout(500)
    t.match(await relay.ready(alice), { status: 200 })
    const [row] = await sql`select last_value::int as made from announcements`
    t.ok(row?.made <= 11, `of 100, ${row?.made - 1} had been sent to the database: no more than there are connections`)
  }
)

t.test('connections that fall silent forever are all discarded at once', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  await Promise.all(Array.from({ length: 20 }, () => relay.list(alice)))
  await network.set('forget')
  t.ok([200, 503].includes((await relay.list(alice)).status), 'given up just in time, or just too late')
  t.match(await relay.ready(alice), { status: 200 })
  const replies = await Promise.all(Array.from({ length: 20 }, () => relay.list(alice)))
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
})

t.test('idle connections are kept', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay } = await startApi(t, { database: network.url })
  const alice = await registerPeer(relay)
  const opened = network.connections()
  await setTimeout(4000)
  t.match(await relay.list(alice), { status: 200 })
  t.equal(network.connections(), opened)
})

t.test('a server that accepts connections and closes them is not flooded', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay } = await startApi(t, { database: network.url })
  const alice = await createPeer()
  await network.set('hang-up')
  for (let round = 0; round < 3; round++) t.match(await relay.list(alice), UNAVAILABLE)
  t.ok(network.connections() < 50, `${network.connections()} connections`)
  await network.set('pass')
  await eventually(
    () => relay.register(alice),
    ({ status }) => status === 200,
    5
  )
})

t.test('connections that the database closed are replaced without the caller noticing', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 20 }, () => relay.list(alice)))
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`
    const replies = await Promise.all(Array.from({ length: 20 }, () => relay.ready(alice)))
    t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
  }
})

t.test('a statement whose connection breaks is executed again', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    const reply = relay.ready(alice)
    const terminate = () => sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    await eventually(terminate, ({ count }) => count === 1)
    await transaction`commit`
    t.match(await reply, { status: 200 }, 'it is executed again')
  })
})

t.test('a statement that takes too long is canceled', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    t.match(await relay.ready(alice), UNAVAILABLE)
  })
  t.match(await relay.ready(alice), { status: 200 })
})
