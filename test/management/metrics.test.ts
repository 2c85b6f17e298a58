import Fastify from 'fastify'
import t from 'tap'
import metrics, { createRegistry, databaseMetrics } from '../../src/observability/metrics.ts'
import { createPool } from '../../src/postgres/pool.ts'
import peerMetrics from '../../src/presence/peer-metrics.ts'
import database from '../../src/repository.ts'
import { VERSION } from '../../src/runtime/version.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { startMailer, startMailServer } from '../support/mail.ts'
import { addPeers } from '../support/many-peers.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'
import { watchAs } from '../support/watch.ts'

/** What /metrics says, and a reader of the series in it. */
async function scrape(internal: string) {
  const { status, headers, body } = await send(`${internal}/metrics`)
  if (status !== 200) throw new Error(`status ${status}`)
  const series = new Map<string, number>()
  for (const [, name, value] of body.matchAll(/^([^#\s].*) (\S+)$/gm)) series.set(name, Number(value))
  return { text: body as string, headers, value: (name: string) => series.get(name), names: [...series.keys()] }
}

t.test('calls are counted by route, result and reason, but never by peer', async (t) => {
  const { relay, internal, origin } = await startApi(t)
  const alice = await registerPeer(relay, 'alice')
  const [bob, mallory] = [await registerPeer(relay, 'bob'), await createPeer('mallory')]
  await relay.register(alice)
  await relay.register({ ...mallory, email: 'no address' })
  for (let n = 0; n < 3; n++) await relay.ready(alice)
  await relay.lookup(bob, alice.email)
  await relay.lookup(bob, alice.email)
  await relay.lookup(alice, bob.email)
  await relay.list(mallory)
  await relay.ready(mallory)
  await relay.lookup(undefined, alice.email)
  await relay.call('/broadcast/list', { headers: { 'x-ssl-cert': 'nonsense' } })
  for (const path of ['/', '/somewhere', '/api/relay/%zz', '/api/relay/register/more']) await send(origin + path)
  const stream = await watchAs(t, origin, bob)
  await stream.next()

  const { headers, value, names, text } = await scrape(internal)
  t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
  const count = (method: string, route: string, status: number) =>
    value(`relay_http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`)
  t.equal(count('POST', '/api/relay/register', 200), 2)
  t.equal(count('POST', '/api/relay/register', 409), 1)
  t.equal(count('POST', '/api/relay/broadcast/ready', 200), 3)
  t.equal(count('GET', '/api/relay/broadcast/lookup', 404), 1)
  t.equal(count('GET', 'unmatched', 404), 3)
  t.equal(count('GET', 'unmatched', 400), undefined, 'a request that cannot be read has no address, and is only logged')
  t.equal(value('relay_announcements_total'), 3)
  t.equal(value('relay_lookups_total{result="found"}'), 2)
  t.equal(value('relay_lookups_total{result="not_found"}'), 1)
  t.equal(value('relay_registrations_total{result="registered"}'), 2)
  t.equal(value('relay_registrations_total{result="already_registered"}'), 1)
  t.equal(value('relay_registrations_total{result="invalid_email"}'), 1)
  t.equal(value('relay_authentication_failures_total{reason="certificate_unknown"}'), 2)
  t.equal(value('relay_authentication_failures_total{reason="certificate_required"}'), 1)
  t.equal(value('relay_authentication_failures_total{reason="invalid_certificate"}'), 1)
  t.equal(value('relay_peers_registered'), 2)
  t.equal(value('relay_peers_online'), 1)
  t.equal(value('relay_watchers'), 1)
  t.equal(value(`relay_build_info{version="${VERSION}"}`), 1)
  t.ok(Number(value('nodejs_eventloop_lag_p99_seconds')) > 0)
  t.ok(Number(value('process_resident_memory_bytes')) > 1e7)
  for (const secret of [alice.email, alice.fingerprint, 'example.com', 'somewhere']) t.notMatch(text, secret)
  const buckets = names.filter((name) => name.startsWith('relay_http_request_duration_seconds_bucket'))
  t.ok(buckets.every((name) => !/route="[^"]*%/.test(name)))
})

t.test('unconfirmed registrations and waiting mails are counted', async (t) => {
  const server = await startMailServer(t)
  const { relay, internal } = await startApi(t, { env: server.env })
  const alice = await createPeer('alice')
  await relay.register(alice)
  await relay.ready(alice)
  const { value } = await scrape(internal)
  t.equal(value('relay_registrations_total{result="pending"}'), 1)
  t.equal(value('relay_authentication_failures_total{reason="email_unverified"}'), 1)
})

t.test('simultaneous calls share a statement, and statements are timed', async (t) => {
  const { relay, internal } = await startApi(t)
  const alice = await registerPeer(relay)
  const before = await scrape(internal)
  await Promise.all(Array.from({ length: 20 }, () => relay.lookup(alice, alice.email)))
  const after = await scrape(internal)
  const grown = (name: string) => Number(after.value(name)) - Number(before.value(name))
  t.equal(grown('relay_database_batch_size_sum'), 20, 'calls')
  t.ok(grown('relay_database_batch_size_count') < 20, 'in fewer statements')
  t.ok(grown('relay_database_query_duration_seconds_count{result="ok"}') > 0)
})

t.test('connections in use, and statements waiting for one, are measured', async (t) => {
  const { url } = await createDatabase(t)
  const pool = createPool(url)
  t.teardown(pool.end)
  const registry = createRegistry()
  databaseMetrics(registry, pool.load)
  const calls = Array.from({ length: 14 }, () => pool.query()`select pg_sleep(0.5)`)
  const busy = await registry.metrics()
  t.match(busy, /^relay_database_connections_max 10$/m)
  t.match(busy, /^relay_database_connections_in_use 10$/m)
  t.match(busy, /^relay_database_queries_waiting 4$/m)
  await Promise.allSettled(calls)
  const idle = await registry.metrics()
  t.match(idle, /^relay_database_connections_in_use 0$/m)
  t.match(idle, /^relay_database_queries_waiting 0$/m)
})

t.test('an unavailable database leaves out only its own metrics', async (t) => {
  const { url } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const { relay, internal } = await startApi(t, { database: network.url })
  await network.set('refuse')
  const alice = await createPeer('alice')
  t.match(await relay.ready(alice), { status: 503 })
  const { value, names } = await scrape(internal)
  t.notOk(names.some((name) => name.startsWith('relay_peers')))
  t.ok(Number(value('relay_database_query_duration_seconds_count{result="failed"}')) > 0)
  await network.set('pass')
  await eventually(
    () => scrape(internal),
    ({ value }) => value('relay_peers_registered') === 0 && value('relay_peers_online') === 0
  )
})

t.test('a count of peers is reused for a while, then renewed', async (t) => {
  const { url, sql } = await createDatabase(t)
  const counting = async (maxAge: number) => {
    const fastify = Fastify()
    fastify.register(metrics)
    fastify.register(database, { config: { DATABASE_URL: url } })
    fastify.register(peerMetrics, { maxAge })
    await fastify.ready()
    t.teardown(() => fastify.close())
    return async () => {
      const text = await fastify.metrics.metrics()
      return ['registered', 'online'].map((state) =>
        Number(text.match(new RegExp(`^relay_peers_${state} (.*)$`, 'm'))?.[1])
      )
    }
  }
  const [seldom, always] = [await counting(3_600_000), await counting(0)]
  await addPeers(sql, 30, { online: 20 })
  t.same(await seldom(), [30, 20])
  t.same(await always(), [30, 20])
  await addPeers(sql, 10, { from: 31, online: 5 })
  t.same(await seldom(), [30, 20])
  t.same(await always(), [40, 25])
})

t.test('the cleanup worker reports what it deleted, and when', async (t) => {
  const { url, sql } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  await addPeers(sql, 7)
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() - interval '1 s'`
  const env = { DATABASE_URL: network.url, CLEANUP_SCHEDULE: '* * * * * *', CLEANUP_PORT: '0' }
  const worker = start(t, 'src/processes/cleanup.ts', { env })
  await worker.printed('"deleted":7')
  const [, internal] = worker.output().match(/listening at (http:[^"]+)/) as [string, string]
  const { value, names } = await eventually(
    () => scrape(internal),
    ({ value }) => Number(value('relay_cleanup_runs_total{result="succeeded"}')) > 0
  )
  t.equal(value('relay_cleanup_deleted_total{kind="broadcasts"}'), 7)
  t.equal(value('relay_cleanup_deleted_total{kind="registrations"}'), 0)
  t.equal(value('relay_cleanup_deleted_total{kind="mail_counts"}'), 0)
  t.ok(Math.abs(Number(value('relay_cleanup_last_success_timestamp_seconds')) - Date.now() / 1000) < 60)
  t.ok(Number(value('relay_cleanup_last_duration_seconds')) > 0)
  t.notOk(
    names.some((name) => name.startsWith('relay_http')),
    'and none of another process'
  )

  await sql.begin(async (transaction) => {
    await transaction`lock table cleanup_lock`
    await eventually(
      () => scrape(internal),
      ({ value }) => Number(value('relay_cleanup_runs_total{result="left"}')) > 0
    )
  })
  await network.set('refuse')
  await eventually(
    () => scrape(internal),
    ({ value }) => Number(value('relay_cleanup_runs_total{result="failed"}')) > 0
  )
  worker.child.kill('SIGTERM')
  await worker.ended
})

t.test('the mailer reports what became of mails', async (t) => {
  const { url } = await createDatabase(t)
  const server = await startMailServer(t)
  const { relay } = await startApi(t, { database: url, env: server.env })
  const { fastify } = await startMailer(t, url, server.env)
  await relay.register(await createPeer('alice'))
  await server.next()
  const text = await eventually(
    () => fastify.metrics.metrics(),
    (text) => text.includes('relay_mails_total{result="sent"} 1')
  )
  t.match(text, 'relay_mails_total{result="deferred"} 0')
  t.match(text, 'relay_mails_total{result="rejected"} 0')
})
