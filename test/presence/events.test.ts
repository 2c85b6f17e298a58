import http from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import errorHandler from '../../src/http/error-handler.ts'
import { MAX_REQUESTS } from '../../src/http/load-shedding.ts'
import requestLog from '../../src/http/request-log.ts'
import metrics from '../../src/observability/metrics.ts'
import type { List } from '../../src/presence/list.repository.ts'
import watchers from '../../src/presence/watchers.ts'
import repository from '../../src/repository.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addPeers } from '../support/many-peers.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { createPeer, edgeHeader, type Peer, registerPeer } from '../support/peers.ts'
import { watch, watchAs } from '../support/watch.ts'

t.test('a watcher gets the list, then whoever comes, changes, leaves and expires', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const other = await startApi(t, { database })
  const [alice, bob, carol] = [
    await registerPeer(relay, 'alice'),
    await registerPeer(relay, 'bob'),
    await registerPeer(relay, 'carol')
  ]
  await relay.ready(alice)
  await relay.ready(carol)
  const stream = await watchAs(t, origin, bob)
  t.match(stream.response, {
    statusCode: 200,
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }
  })
  t.same(await stream.next(), { name: 'list', data: (await relay.list(bob)).body })

  await relay.ready(bob)
  await relay.withdraw(alice)
  t.same(
    await stream.next(),
    { name: 'offline', data: { email: alice.email } },
    'but not the changes of the watcher itself'
  )
  await other.relay.ready(alice)
  const online = async () => ({ name: 'online', data: (await relay.lookup(bob, alice.email)).body })
  t.same(await stream.next(), await online(), 'also at another API')
  await other.relay.ready(alice)
  await other.relay.ready(alice, { ...ANNOUNCEMENT, port: 1 })
  t.same(await stream.next(), await online(), 'a change, not the renewal before it')

  const next = await createPeer('next')
  await relay.certificate(alice, next)
  await relay.own(next)
  t.match(await stream.next(), { name: 'online', data: { email: alice.email, fingerprint: next.fingerprint } })
  await relay.unregister(next)
  t.same(await stream.next(), { name: 'offline', data: { email: alice.email } })

  await sql`update broadcasts set expires_at = now() + interval '1.5 s' from clients
    where clients.id = client_id and email = ${carol.email}`
  t.same(
    await stream.next(),
    { name: 'offline', data: { email: carol.email } },
    'although nothing reported that she expired'
  )
  await sql`delete from broadcasts where expires_at < now()`
  t.match(await stream.next(), { name: 'offline', data: { email: carol.email } })
  await relay.ready(carol)
  t.match(await stream.next(), { name: 'online', data: { email: carol.email } })
  t.same(stream.events, [])
})

t.test('a list never contains the watcher itself, wherever its place is', async (t) => {
  const { relay, origin } = await startApi(t)
  const peers: Peer[] = [await registerPeer(relay, 'a'), await registerPeer(relay, 'b'), await registerPeer(relay, 'c')]
  for (const peer of peers) await relay.ready(peer)
  for (const peer of peers) {
    const stream = await watchAs(t, origin, peer)
    t.same((await stream.next()).data, (await relay.list(peer)).body)
  }
  const [a, b, c] = peers as [Peer, Peer, Peer]
  await relay.withdraw(b)
  await relay.withdraw(c)
  t.same((await (await watchAs(t, origin, a)).next()).data, [], 'alone')
})

t.test('a list may take several queries', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  // One full page, two full pages, and a part of a third.
  for (const [from, to] of [
    [1, 1000],
    [1001, 2000],
    [2001, 2500]
  ] as const) {
    await addPeers(sql, to - from + 1, { from })
    const { body } = await relay.list(alice)
    t.equal(body.length, to)
    const stream = await watchAs(t, origin, alice)
    t.same((await stream.next()).data, body)
  }
})

t.test('an unregistered caller may not watch', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.call('/broadcast/events'), { status: 401, body: { code: 'certificate_required' } })
  t.match(await relay.call('/broadcast/events', { as: await createPeer() }), {
    status: 401,
    body: { code: 'certificate_unknown' }
  })
})

t.test('watchers do not count as requests in flight', async (t) => {
  const { relay, origin } = await startApi(t)
  const bob = await registerPeer(relay, 'bob')
  for (let i = 0; i <= MAX_REQUESTS; i++) t.match(await watchAs(t, origin, bob), { response: { statusCode: 200 } })
  t.match(await relay.list(bob), { status: 200 })
})

t.test('a stream ends with its certificate, and when the server closes', async (t) => {
  const { fastify, relay, origin } = await startApi(t)
  const [alice, bob, carol] = [
    await registerPeer(relay, 'alice'),
    await registerPeer(relay, 'bob'),
    await registerPeer(relay, 'carol')
  ]
  const streams = [await watchAs(t, origin, alice), await watchAs(t, origin, bob), await watchAs(t, origin, carol)]
  for (const stream of streams) await stream.next()
  const next = await createPeer('next')
  await relay.certificate(alice, next)
  await relay.own(next)
  await streams[0]?.ended
  await relay.unregister(bob)
  await streams[1]?.ended
  t.notOk(streams[2]?.response.destroyed)
  await fastify.close()
  await streams[2]?.ended
})

t.test('changes missed while the database was unavailable are in a new list', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay, origin } = await startApi(t, { database: network.url })
  const elsewhere = await startApi(t, { database: url })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const stream = await watchAs(t, origin, bob)
  t.same(await stream.next(), { name: 'list', data: [] })
  for (const mode of ['refuse', 'freeze', 'forget'] as const) {
    await network.set(mode)
    await elsewhere.relay.ready(alice)
    await pause(6000) // it is noticed after 3.4 s
    await network.set('pass')
    t.match(await stream.next(), { name: 'list', data: [{ email: alice.email }] }, mode)
    await elsewhere.relay.withdraw(alice)
    t.same(await stream.next(), { name: 'offline', data: { email: alice.email } })
  }
})

t.test('a feed whose session the database ends reconnects', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const bob = await registerPeer(relay, 'bob')
  const stream = await watchAs(t, origin, bob)
  await stream.next()
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`
  t.same(await stream.next(), { name: 'list', data: [] })
})

t.test('the last watcher closes the feed, and the next one opens it', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const bob = await registerPeer(relay, 'bob')
  const following = () => sql`select from pg_stat_activity
    where datname = current_database() and query ~ '^\\s*select now\\(\\)::text'`
  for (let round = 0; round < 2; round++) {
    const streams = [await watchAs(t, origin, bob), await watchAs(t, origin, bob)]
    for (const stream of streams) t.match(await stream.next(), { name: 'list' })
    t.equal((await following()).count, 1)
    for (const { response } of streams) response.destroy()
    await eventually(following, ({ count }) => count === 0)
  }
})

t.test('a watcher that comes while the server closes is refused', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay, fastify } = await startApi(t, { database })
  const bob = await registerPeer(relay, 'bob')
  let answer: ReturnType<typeof relay.call> | undefined
  let closed: Promise<unknown> | undefined
  await sql.begin(async (locked) => {
    await locked`lock table clients`
    answer = relay.call('/broadcast/events', { as: bob })
    await lockedOut(sql)
    closed = fastify.close()
  })
  t.match(await answer, { status: 503, body: { code: 'service_unavailable' } })
  await closed
})

t.test('a caller that hangs up before the stream begins is no watcher', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const bob = await registerPeer(relay, 'bob')
  await sql.begin(async (locked) => {
    await locked`lock table clients`
    const req = http.get(`${origin}/api/relay/broadcast/events`, { agent: false, headers: edgeHeader(bob) })
    req.on('error', () => {})
    await lockedOut(sql)
    req.destroy()
    await new Promise((resolve) => req.once('close', resolve))
  })
  await relay.own(bob)
  await pause(500)
  t.same(
    await sql`select from pg_stat_activity where datname = current_database() and query ~ 'listen'
    and pid <> pg_backend_pid()`,
    [],
    'no feed is open without watchers'
  )
})

t.test('watchers get comments, end with their certificates, and have a limit', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database: url })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const log: string[] = []
  const fastify = Fastify({ logger: { stream: { write: (line) => log.push(line) } } })
  fastify.register(requestLog)
  fastify.register(errorHandler)
  fastify.register(metrics)
  fastify.register(repository, { config: { DATABASE_URL: url } })
  fastify.register(watchers, { url, heartbeat: 500, max: 2 })
  fastify.get('/:name', async (request, reply) => {
    fastify.watch(reply, (request.params as { name: string }).name === 'alice' ? alice : bob)
  })
  const origin = await fastify.listen({ port: 0 })
  t.teardown(() => fastify.close())

  const [one, two] = [await watch(t, `${origin}/alice`), await watch(t, `${origin}/bob`)]
  await eventually(
    async () => one.comments(),
    (count) => count >= 2
  )
  await sql`update clients set not_before = now() - interval '2 s', not_after = now() where email = ${alice.email}`
  await one.ended
  t.notOk(two.response.destroyed)

  await sql`alter table broadcasts rename port to away`
  const later = await watch(t, `${origin}/bob`)
  await eventually(
    async () =>
      log.filter((line) => line.includes('list for watchers not read, retrying; new watchers wait for it')).length,
    (count) => count > 0
  )
  await sql`alter table broadcasts rename away to port`
  t.same(await later.next(), { name: 'list', data: [] })

  await sql`alter table clients rename to away`
  await eventually(
    async () => log.filter((line) => line.includes('certificates of watchers not checked, retrying in 25 s')).length,
    (count) => count > 0
  )
  await sql`alter table away rename to clients`
  t.notOk(two.response.destroyed, 'a stream goes on while its certificate cannot be checked')

  t.match(await watch(t, `${origin}/bob`), { response: { statusCode: 503 } }, 'beyond the limit')
})

/** An API's watchers alone; `read` wraps the query for a page. */
async function startWatchers(
  t: Test,
  url: string,
  peer: { clientId: string; email: string; fingerprint: string },
  options: object,
  read: (everyone: List['everyone']) => List['everyone'] = (everyone) => everyone
) {
  const fastify = Fastify()
  fastify.register(metrics)
  await fastify.register(repository, { config: { DATABASE_URL: url } })
  const { list } = fastify.repository
  list.everyone = read(list.everyone)
  fastify.register(watchers, { url, ...options })
  fastify.get('/', async (_, reply) => {
    fastify.watch(reply, peer)
  })
  const origin = await fastify.listen({ port: 0 })
  t.teardown(() => fastify.close())
  return origin
}

t.test('a watcher that falls behind is disconnected, and delays nobody', async (t) => {
  const { url } = await createDatabase(t)
  const { relay } = await startApi(t, { database: url })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const { promise: never, resolve } = Promise.withResolvers<void>()
  t.teardown(resolve)
  let lists = 0
  const origin = await startWatchers(t, url, alice, { maxBytes: 10_000 }, (everyone) => async (...page) => {
    if (++lists > 1) await never
    return everyone(...page)
  })
  const stream = await watch(t, origin)
  t.match(await stream.next(), { name: 'list' })
  const slow = await watch(t, origin)
  for (let port = 1; port <= 5; port++) {
    await relay.ready(bob, { ...ANNOUNCEMENT, port, capabilities: { x: 'x'.repeat(3000) } })
    t.match(await stream.next(), { name: 'online', data: { port } })
  }
  await slow.ended
  t.same(slow.events, [])
  t.notOk(stream.response.destroyed)
})

t.test(
  'a watcher that stops reading after its list is sent no more, and disconnected when too far behind',
  async (t) => {
    const { url, sql } = await createDatabase(t)
    const { relay } = await startApi(t, { database: url })
    const alice = await registerPeer(relay, 'alice')
    await addPeers(sql, 1000, { padding: 4000 })
    // The log keeps more than one round of changes; all rounds exceed it and the connection's buffers.
    const origin = await startWatchers(t, url, alice, { maxBytes: 6_000_000, heartbeat: 3_600_000 })
    const [slow, quick] = [await watch(t, origin), await watch(t, origin)]
    for (const { next } of [slow, quick]) t.match(await next(), { name: 'list', data: { length: 1000 } })
    slow.response.pause()
    for (let port = 1; port <= 8; port++) {
      await sql`update broadcasts set port = ${port}`
      for (let n = 0; n < 1000; n++) await quick.next()
    }
    slow.response.resume()
    await eventually(
      async () => slow.response.closed,
      (isClosed) => isClosed
    )
    t.ok(slow.events.length < 8000, `it was sent ${slow.events.length} of 8000 events`)
    t.notOk(quick.response.destroyed, 'who reads goes on')
  }
)

t.test('changes that cannot be looked up are sent later', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database: url })
  const alice = await registerPeer(relay, 'alice')
  await addPeers(sql, 1)
  const stream = await watch(t, await startWatchers(t, url, alice, {}))
  t.match(await stream.next(), { name: 'list', data: [{ port: 54321 }] })
  await sql`alter table broadcasts rename port to away`
  await sql`update broadcasts set away = 1`
  await pause(500)
  t.same(stream.events, [])
  await sql`alter table broadcasts rename away to port`
  t.match(await stream.next(), { name: 'online', data: { port: 1 } })
})

t.test('too many changes to keep make a new list', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database: url })
  const alice = await registerPeer(relay, 'alice')
  await addPeers(sql, 20)
  const stream = await watch(t, await startWatchers(t, url, alice, { maxChanged: 10 }))
  t.equal((await stream.next()).data.length, 20)
  await sql`update broadcasts set port = 1`
  const { name, data } = await stream.next()
  t.equal(name, 'list')
  t.same(new Set(data.map(({ port }: { port: number }) => port)), new Set([1]))
})

t.test('a list continues when the database is back, and is cut off if changes were missed', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database: url })
  const alice = await registerPeer(relay, 'alice')
  await addPeers(sql, 3000)
  const { promise: missed, resolve } = Promise.withResolvers<void>()
  let pages = 0
  const read = (everyone: List['everyone']): List['everyone'] => {
    return async (after, ...rest) => {
      pages++
      if (pages === 2) throw new Error('the database is away')
      if (after && pages > 5) await missed
      return everyone(after, ...rest)
    }
  }
  const origin = await startWatchers(t, url, alice, {}, read)
  const first = await watch(t, origin)
  t.equal((await first.next()).data.length, 3000)
  first.response.destroy()

  pages = 5
  const second = await watch(t, origin)
  await eventually(
    async () => pages,
    (count) => count === 7
  )
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query ~ '^\\s*select now\\(\\)::text'`
  await second.ended
  t.same(second.events, [])
  resolve()
  t.equal((await (await watch(t, origin)).next()).data.length, 3000)
})
