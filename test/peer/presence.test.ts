import { once } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { PeerState, RelayPeer } from '../../peer/src/index.ts'
import { eventually } from '../support/eventually.ts'
import { ANNOUNCED, startTracker } from './helper.ts'

/** The names of a peer's states from now on. */
function statesOf(peer: RelayPeer) {
  const names: PeerState['name'][] = []
  peer.on('state', ({ name }) => names.push(name))
  return names
}

/** Lets the tracker's database wait with every announcement. */
async function holdBroadcasts(t: Test, { sql }: Awaited<ReturnType<typeof startTracker>>) {
  const released = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const lock = sql.begin(async (sql) => {
    await sql`lock table broadcasts in exclusive mode`
    locked.resolve()
    await released.promise
  })
  t.teardown(released.resolve)
  await locked.promise
  return {
    begun: () =>
      eventually(
        async () => (await sql`select from pg_locks where not granted and relation = 'broadcasts'::regclass`).length,
        Boolean
      ),
    async release() {
      released.resolve()
      await lock
    }
  }
}

t.test('announce replaces an announcement, update changes it, and withdraw ends it', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  const states = statesOf(alice)
  t.same(alice.state, { name: 'stopped' })
  await t.rejects(alice.update({ port: 2 }), { code: 'invalid_argument', message: /no announcement/ })
  await alice.announce({ port: 1, addresses: [ANNOUNCED], capabilities: { chat: true } })
  t.match(alice.state, { name: 'online', until: Date, observedAddress: '127.0.0.1' })
  await alice.announce({ port: 2, addresses: ['192.0.2.2'], ttl: 60 })
  t.match(await alice.own(), { port: 2, addresses: ['192.0.2.2'], capabilities: {} })
  await alice.update({ capabilities: { files: true }, addresses: () => ['192.0.2.3'] })
  t.match(await alice.own(), { port: 2, addresses: ['192.0.2.3'], capabilities: { files: true } })
  await t.rejects(alice.update({ port: 0 }), { code: 'invalid_argument' })
  await t.rejects(alice.update({ addresses: ['100::1'] }), { status: 400, code: 'invalid_addresses' })
  await alice.update({ port: 3, ttl: 120 })
  t.match(await alice.own(), { port: 3, addresses: ['192.0.2.3'] }, 'what was refused is undone')

  await alice.withdraw()
  t.same(alice.state, { name: 'stopped' })
  await t.rejects(alice.own(), { name: 'TrackerError', status: 404 })
  t.same(states.slice(0, 4), ['starting', 'online', 'starting', 'online'])
  await alice.withdraw()
  const [announced, withdrawn] = [alice.announce({ port: 4, addresses: [ANNOUNCED] }), alice.withdraw()]
  await t.rejects(announced, { code: 'withdrawn' })
  await withdrawn
  const withdrawing = alice.withdraw()
  await alice.announce({ port: 5, addresses: [ANNOUNCED] })
  await withdrawing
  t.match(await alice.own(), { port: 5 }, 'the last call counts')
})

t.test('an announcement that the tracker refuses is not made', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  const nowhere = alice.announce({ port: 1, addresses: ['100::1'] })
  await t.rejects(nowhere, { status: 400, code: 'invalid_addresses' })
  t.match(alice.state, { name: 'stopped', reason: { code: 'invalid_addresses' } })
  await t.rejects(alice.announce({ port: 1, host: '127.0.0.1' }), { code: 'invalid_addresses' })
})

t.test('the tracker has what the last call asked for, and nothing if that failed', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  await t.rejects(alice.announce({ port: 2, addresses: ['100::1'] }), { code: 'invalid_addresses' })
  t.match(alice.state, { name: 'stopped' })
  const isGone = async () => (await alice.own().catch(({ code }) => code)) === 'not_online'
  await eventually(isGone, Boolean)

  await alice.announce({ port: 3, addresses: [ANNOUNCED] })
  const late = { signal: AbortSignal.abort(new Error('given up')) }
  await t.rejects(
    tracker.open('bob').then((bob) => bob.withdraw(late)),
    { message: 'given up' }
  )
  await t.rejects(alice.update({ port: 33, ...late }), { message: 'given up' })
  t.match(alice.state, { name: 'online' }, 'a change that is given up ends nothing')
  const waiting = await holdBroadcasts(t, tracker)
  const given = new AbortController()
  const announced = alice.announce({ port: 4, addresses: [ANNOUNCED], signal: given.signal })
  await waiting.begun()
  given.abort(new Error('given up'))
  await t.rejects(announced, { message: 'given up' })
  t.same(alice.state, { name: 'stopped' })
  await waiting.release()
  await eventually(isGone, Boolean)

  for (let n = 0; n < 20; n++) {
    await alice.announce({ port: 5, addresses: [ANNOUNCED] })
    alice.suspend()
    alice.resume()
    await setTimeout(Math.random() * 10)
    await alice.withdraw()
    t.ok(await isGone(), 'what was being announced does not outlive the withdrawal')
  }
  const early = new AbortController()
  const tooEarly = alice.announce({ port: 5, addresses: [ANNOUNCED], signal: early.signal })
  early.abort(new Error('given up'))
  await t.rejects(tooEarly, { message: 'given up' })
  await eventually(
    async () => {
      const other = await tracker.open('alice')
      const error = await other.announce({ port: 6, addresses: [ANNOUNCED] }).catch(({ code }) => code)
      await other.close()
      return error
    },
    (error) => error === undefined
  )
})

t.test('one process announces an identity, and is asked to end by another', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  const other = await tracker.open('alice')
  const busy = {
    name: 'PeerError',
    code: 'already_running',
    message: `process ${process.pid} already announces this identity`
  }
  await t.rejects(other.announce({ port: 1, addresses: [ANNOUNCED] }), busy)
  t.match(await other.list(), [], 'everything else works')
  const withdrawing = alice.withdraw()
  await alice.announce({ port: 2, addresses: [ANNOUNCED] })
  await withdrawing
  await t.rejects(other.announce({ port: 1, addresses: [ANNOUNCED] }), busy, 'it has announced again meanwhile')
  await alice.withdraw()
  await other.announce({ port: 1, addresses: [ANNOUNCED] })
  await t.rejects(alice.announce({ port: 1, addresses: [ANNOUNCED] }), busy)
  await t.rejects(alice.announce({ port: 1, addresses: [ANNOUNCED] }), busy, 'again')

  const stopped = once(other, 'state')
  t.match(await tracker.run('alice', 'down'), { code: 0 })
  t.match(await stopped, [{ name: 'stopped', reason: { code: 'closed', message: /another process/ } }])
  t.match(await tracker.run('alice', 'down', '--json'), { output: /"was_up":false/ })
  await alice.announce({ port: 1, addresses: [ANNOUNCED] })
})

t.test('a peer that is suspended is offline, and comes back when it is resumed', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  const bob = await tracker.up('bob')
  const changes = alice.watch()
  const next = async () => (await changes.next()).value
  t.match(await next(), { type: 'connected' })
  t.match(await next(), { type: 'list' })
  const paused = next()
  await alice.suspend()
  await alice.suspend()
  t.same(alice.state, { name: 'stopped' })
  await t.rejects(bob.lookup('alice@example.com'), { code: 'peer_not_found' })
  t.match(await paused, { type: 'disconnected', reason: { code: 'suspended' } })
  const resumed = next()
  await bob.close()
  await alice.resume()
  t.match(await resumed, { type: 'connected' })
  t.match(await next(), { type: 'offline', email: 'bob@example.com' })
  await eventually(
    async () => alice.state.name,
    (name) => name === 'online'
  )
  t.match(await alice.own(), { port: alice.port })

  await alice.suspend()
  const announced = alice.announce({ port: 9, addresses: [ANNOUNCED] })
  await setImmediate()
  await alice.resume()
  await announced
  t.match(await alice.own(), { port: 9 }, 'the last announcement counts')
  const quick = alice.suspend()
  const updated = alice.update({ port: 10 })
  await alice.resume()
  await Promise.all([quick, updated])
  t.match(await alice.own(), { port: 10 }, 'so does the last change')

  await alice.suspend()
  await alice.withdraw()
  await alice.resume()
  await alice.resume()
  t.same(alice.state, { name: 'stopped' }, 'what was withdrawn stays so')
  const never = alice.suspend()
  await never
  const ended = alice.watch({ signal: AbortSignal.timeout(50) })
  t.match(await ended.next(), { done: true }, 'a watch can be given up meanwhile')
})

t.test('the authority that vouches for the tracker can be changed while a peer is announced', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  alice.setCa(undefined)
  await t.rejects(alice.register(), { code: 'tracker_untrusted', status: 0, isTemporary: false })
  await t.rejects(alice.announce({ port: 1, addresses: [ANNOUNCED] }), { code: 'tracker_untrusted' })
  t.match(alice.state, { name: 'untrusted', reason: { code: 'tracker_untrusted' }, nextAttempt: Date })
  const changes = alice.watch()
  t.match((await changes.next()).value, { type: 'disconnected', reason: { code: 'tracker_untrusted' } })
  t.throws(() => alice.setCa('nonsense'), { code: 'invalid_argument' })
  alice.setCa(tracker.ca)
  await eventually(
    async () => alice.state.name,
    (name) => name === 'online'
  )
  t.match((await changes.next()).value, { type: 'connected' })
  await alice.suspend()
  alice.setCa(undefined)
  alice.setCa(tracker.ca)
  t.same(alice.state, { name: 'stopped' }, 'that ends no suspension')
})
