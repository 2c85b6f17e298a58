import t from 'tap'
import { connect } from '../src/database.ts'
import {
  ANNOUNCEMENT,
  type Call,
  createDatabase,
  eventually,
  registerPeer,
  skipWithoutContainers,
  startApi,
  startFaultyNetwork,
  unchanged
} from './helper.ts'
import { startPrimary } from './postgres-servers.ts'

t.test('lookups and lists are read from a replica', { skip: skipWithoutContainers }, async (t) => {
  const { primary, startStandby, urlOf } = await startPrimary(t)
  const standby = await startStandby()
  const there = connect(urlOf(standby.host), { max: 2, statementTimeout: 0 })
  t.teardown(() => there.end())
  const network = await startFaultyNetwork(t, urlOf(standby.host))
  const api = await startApi(t, { database: urlOf(primary.host), env: { DATABASE_REPLICA_URL: network.url } })
  const { relay } = api
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]

  const portOf = async () => (await relay.lookup(alice, bob.email)).body.port
  const announce = async (port: number) => t.equal((await relay.ready(bob, { ...ANNOUNCEMENT, port })).status, 200)
  const list = (options: Call = {}) => relay.call('/broadcast/list', { as: alice, ...options })
  const replay = async (to: 'pause' | 'resume') => {
    await there.unsafe(`select pg_wal_replay_${to}()`)
  }
  /** Until the replica has replayed what was written, and is known to have. */
  const isRead = (port: number) =>
    eventually(
      async () => [
        await portOf(),
        (await there`select port from broadcasts where port = ${port}`)[0]?.port,
        api.fastify.repository.recent.isFresh()
      ],
      (found) => found.join() === `${port},${port},true`
    )

  await announce(1)
  await isRead(1)

  await t.test('for as long as it is fresh, also what it does not have yet comes from it', async (t) => {
    await replay('pause')
    await announce(2)
    t.equal(await portOf(), 1, 'the lookup is the replica’s')
    t.same(
      (await list()).body.map(({ port }: { port: number }) => port),
      [1],
      'so is the list'
    )
    const carol = await registerPeer(relay, 'carol')
    t.equal((await relay.lookup(carol, bob.email)).status, 200, 'who has just registered is known')
    t.equal((await relay.ready(carol)).status, 200)
    t.equal((await relay.lookup(alice, carol.email)).status, 200, 'and who has just come is found')
    t.equal((await relay.lookup(alice, 'dave@example.com')).status, 404)
    t.equal((await relay.own(bob)).body.port, 2, 'one’s own broadcast is the primary’s')
  })

  await t.test('what falls behind is read no more, until it has caught up', async () => {
    await eventually(portOf, (port) => port === 2)
    await replay('resume')
    await isRead(2)
  })

  await t.test('a list’s tag holds for as long as nothing was replayed', async (t) => {
    const again = (tag: string) => list({ headers: { 'if-none-match': tag } })
    const { status, headers } = await unchanged(list, again)
    t.equal(status, 304)
    await announce(3)
    await isRead(3)
    t.equal((await again(String(headers.etag))).status, 200)
  })

  await t.test('when it is away, the primary is asked, and nobody notices', async (t) => {
    await network.set('refuse')
    t.equal(await portOf(), 3)
    t.equal((await list()).status, 200)
    await announce(4)
    t.equal(await portOf(), 4)
    await network.set('pass')
    await isRead(4)
  })

  await t.test('one that was never there is asked again and again, and nobody waits for it', async (t) => {
    const nowhere = await startFaultyNetwork(t, urlOf(standby.host))
    await nowhere.set('hang-up')
    const api = await startApi(t, { database: urlOf(primary.host), env: { DATABASE_REPLICA_URL: nowhere.url } })
    await eventually(
      async () => nowhere.connections(),
      (count) => count > 1
    )
    t.notOk(api.fastify.repository.recent.isFresh())
    t.equal((await api.relay.lookup(alice, bob.email)).body.port, 4)
  })

  await t.test('another database is no replica', async (t) => {
    const other = await createDatabase(t)
    const api = await startApi(t, { database: urlOf(primary.host), env: { DATABASE_REPLICA_URL: other.url } })
    await eventually(
      () =>
        other.sql`select from pg_stat_activity where query like '%hasReplayed%' and pid <> pg_backend_pid() and state = 'idle'`,
      ({ count }) => count > 0
    )
    t.notOk(api.fastify.repository.recent.isFresh())
    const alone = await startApi(t, { database: urlOf(primary.host) })
    t.notOk(alone.fastify.repository.recent.isFresh(), 'nor is one read from that nobody named')
    t.equal((await api.relay.lookup(alice, bob.email)).body.port, 4)
  })

  await t.test('what is wrong with the question is no reason to ask the primary', async (t) => {
    const { recent } = api.fastify.repository
    await isRead(4)
    let asked = 0
    const failing = recent.read(async () => {
      asked++
      throw new Error('of our own')
    })
    await t.rejects(failing, { message: 'of our own' })
    t.equal(asked, 1)
  })
})
