import t, { type Test } from 'tap'
import { createPool } from '../../src/postgres/pool.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { cleanUp } from '../../src/workers/expiry-cleanup.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer, edgeHeader, registerPeer } from '../support/peers.ts'
import { startPrimary } from '../support/postgres-servers.ts'

/** The oldest supported version, the most common one, and the newest. */
const VERSIONS = [15, 17, 18]

type Api = Awaited<ReturnType<typeof startApi>>

for (const version of VERSIONS) {
  t.test(`PostgreSQL ${version}`, { skip: skipWithoutContainers }, async (t) => {
    const { primary, startPgBouncer, urlOf } = await startPrimary(t, `postgres:${version}`)
    const database = urlOf(primary.host)
    const sql = connect(database, { max: 1, statementTimeout: 0 })
    t.teardown(() => sql.end())

    await t.test('every call works', async (t) => {
      const [{ number }] = await sql<[{ number: number }]>`select current_setting('server_version_num')::int as number`
      t.equal(Math.floor(number / 10_000), version)
      await everyCall(t, await startApi(t, { database }))
    })

    await t.test('every call works through PgBouncer in transaction mode', async (t) => {
      const pgbouncer = await startPgBouncer([
        '[databases]',
        'postgres = host=primary',
        '[pgbouncer]',
        'listen_addr = *',
        'listen_port = 6432',
        'auth_type = scram-sha-256',
        'auth_file = /tmp/users',
        'pool_mode = transaction',
        // Fewer than the API's connections, so they are shared.
        'default_pool_size = 2'
      ])
      const pooler = urlOf(pgbouncer.host)
      const api = await startApi(t, { database, env: { DATABASE_POOLER_URL: pooler } })
      const sessions = () =>
        sql<[{ count: number }]>`
          select count(*)::int from pg_stat_activity
          where application_name = 'relay-tracker' and client_addr is not null and pid <> pg_backend_pid()`
      await everyCall(t, api)

      const peers = await Promise.all(Array.from({ length: 8 }, (_, n) => registerPeer(api.relay, `peer-${n}`)))
      const answers = await Promise.all(
        peers.flatMap((peer) => [
          api.relay.ready(peer),
          api.relay.list(peer),
          api.relay.certificate(peer),
          api.relay.own(peer)
        ])
      )
      t.same(
        answers.filter(({ status }) => ![200, 404].includes(status)),
        [],
        'many at once'
      )
      const [{ count }] = await sessions()
      t.ok(count <= 2, `${count} sessions for all of them`)

      await sql`alter role postgres set statement_timeout = '1s'`
      await pgbouncer.container.exec(['sh', '-c', 'kill -HUP 1']) // new sessions have the role's new default
      const pool = createPool(pooler, { isPooled: true })
      t.teardown(pool.end)
      await sql`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'`
      // Until then, PgBouncer may hand out a connection that is ending.
      await eventually(sessions, ([{ count }]) => count === 0)
      await t.rejects(pool.query()`select pg_sleep(30)`, { code: '57014' }, 'the role’s limit applies')
      await sql`alter role postgres reset statement_timeout`
    })
  })
}

/** Everything a peer, the worker and the mailer do. */
async function everyCall(t: Test, { relay, origin, fastify }: Api) {
  const { repository, log } = fastify
  const [alice, bob] = [await createPeer('alice'), await createPeer('bob')]
  t.match(await relay.register(alice), { status: 200, body: { client_id: String } })
  t.match(await relay.register(alice), { status: 409, body: { code: 'already_registered' } })
  t.match(await relay.register(bob), { status: 200 })

  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const stream = await fetch(`${origin}/api/relay/broadcast/events`, { headers: edgeHeader(bob), signal: stop.signal })
  let events = ''
  const reading = (async () => {
    for await (const text of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) events += text
  })().catch(() => {})
  const told = (text: string) =>
    eventually(
      async () => events,
      (all) => all.includes(text)
    )
  await told('event: list')

  t.match(await relay.ready(alice), { status: 200, body: { broadcast_id: String } })
  await told('event: online')
  t.match(await relay.own(alice), { status: 200, body: { port: ANNOUNCEMENT.port } })
  t.match(await relay.lookup(bob, alice.email), { status: 200, body: { fingerprint: alice.fingerprint } })
  t.match(await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: bob }), { status: 200 })
  t.match(await relay.lookup(bob, 'nobody@example.com'), { status: 404 })
  const list = await relay.list(bob)
  t.match(list, { status: 200, body: [{ email: alice.email }] })
  const headers = { 'if-none-match': String(list.headers.etag) }
  t.match(await relay.call('/broadcast/list', { as: bob, headers }), { status: 304 })

  const next = await createPeer('alice')
  t.match(await relay.certificate(alice, next), { status: 200, body: { pending: { fingerprint: next.fingerprint } } })
  t.match(await relay.keepCertificate(alice), { status: 204 })
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.own(next), { status: 200 }, 'the next certificate is valid')
  t.match(await relay.own(alice), { status: 401 })

  t.match(await relay.withdraw(next), { status: 204 })
  await told('event: offline')
  t.match(await relay.unregister(next), { status: 204 })
  t.match(await relay.unregister(bob), { status: 204 })
  stop.abort()
  await reading

  await cleanUp(repository, log)
  t.equal(await repository.pendingRegistrations.takeMail(Buffer.alloc(32)), undefined, 'no mail is due')
}
