import { once } from 'node:events'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { connect } from 'node:tls'
import pLimit from 'p-limit'
import t from 'tap'
import { type Change, RelayPeer } from '../../peer/src/index.ts'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer } from '../support/peers.ts'
import { ANNOUNCED, HOST, startImpostor, startServer, startTracker } from './helper.ts'

t.test('two peers find each other, talk, and leave', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  const bob = await tracker.up('bob')
  for (const file of ['identity.pem', 'settings.json']) {
    t.equal(statSync(join(tracker.dirOf('alice'), file)).mode & 0o777, 0o600, file)
  }
  t.equal(statSync(tracker.dirOf('alice')).mode & 0o777, 0o700)
  t.same(await alice.register(), { isEmailPending: false }, 'again is harmless')

  t.match(await alice.lookup('bob@example.com'), { port: bob.port, fingerprint: bob.credentials.fingerprint })
  t.match(await alice.list(), [{ email: 'bob@example.com' }])
  t.match(await alice.own(), { email: 'alice@example.com', addresses: [HOST] })

  const called = once(bob, 'connection')
  const socket = await alice.connect('Bob@example.com', { signal: new AbortController().signal })
  socket.write('hello\n')
  const [inbound, caller] = await called
  t.match(caller, { email: 'alice@example.com', fingerprint: alice.credentials.fingerprint })
  const [text] = await once(inbound.setEncoding('utf8'), 'data')
  t.equal(text, 'hello\n')
  inbound.end('hello yourself\n')
  t.same(await socket.setEncoding('utf8').toArray(), ['hello yourself\n'])
  t.equal(socket.alpnProtocol, 'relay-peer/2')

  bob.on('connection', (socket) => socket.end())
  const again = await alice.connect(await alice.lookup({ fingerprint: bob.credentials.fingerprint }))
  again.destroy()
  bob.removeAllListeners('connection')
  const declined = { name: 'PeerError', code: 'refused', reason: 'declined' }
  await t.rejects(alice.connect('bob@example.com'), declined, 'where nobody listens for connections')
  await t.rejects(alice.connect('alice@example.com'), { code: 'own_identity' })
  await t.rejects(alice.connect(await bob.lookup('alice@example.com')), { code: 'own_identity' })

  await bob[Symbol.asyncDispose]()
  await t.rejects(alice.lookup('bob@example.com'), { name: 'TrackerError', status: 404, code: 'peer_not_found' })
  await t.rejects(bob.list(), { code: 'closed' })
  await t.rejects(bob.connect('alice@example.com'), { code: 'closed' })
  await t.rejects(bob.listen(), { code: 'closed' })
  await t.rejects(bob.announce({ port: 1 }), { code: 'closed' })
})

t.test('an identity is opened only with its own settings', async (t) => {
  const { open, dirOf, origin, ca } = await startTracker(t)
  const alice = await open('alice')
  t.equal(alice.tracker, origin)
  const dir = dirOf('alice')
  const again = await RelayPeer.open({ dir })
  t.equal(again.credentials.fingerprint, alice.credentials.fingerprint)
  await again.close()
  await again.close()
  await alice.register()
  const same = { dir, tracker: `${origin}/`, email: 'Alice@example.com' }
  await (await RelayPeer.open(same)).close()
  await (await RelayPeer.open({ ...same, ca })).close()
  await t.rejects(RelayPeer.open({ ...same, email: 'bob@example.com' }), { code: 'other_identity', message: /alice@/ })
  await t.rejects(RelayPeer.open({ ...same, tracker: 'https://else.example' }), { code: 'other_identity' })
  await t.rejects(RelayPeer.open({ dir: dirOf('bob') }), { code: 'no_identity' })
  const wrong = [{ dir: '' }, { dir, tracker: origin }, { dir, email: 'alice@example.com' }]
  for (const options of wrong) await t.rejects(RelayPeer.open(options), { code: 'invalid_argument' })
  const located = await RelayPeer.open({ dir, ca })
  await located.close()

  const publicly = await RelayPeer.open({ dir: dirOf('carol'), tracker: origin, email: 'carol@example.com' })
  t.teardown(() => publicly.close())
  await t.rejects(publicly.register(), { code: 'tracker_untrusted' }, 'no public authority knows this tracker')
  t.equal(publicly.isRegistered, false)
  publicly.setCa(ca)
  await publicly.register()
  t.equal(publicly.isRegistered, true)
  RelayPeer.discard(dirOf('carol'))
  t.notOk(RelayPeer.exists(dirOf('carol')))
})

t.test('a peer listens where it listened last time, if it can', async (t) => {
  const { open, dirOf } = await startTracker(t)
  const alice = await open('alice')
  const port = await alice.listen({ host: HOST })
  t.equal(await alice.listen({ host: HOST }), port)
  const again = await open('alice')
  const elsewhere = await again.listen({ host: HOST })
  t.not(elsewhere, port, 'it is taken')
  await t.rejects(again.listen({ host: HOST, port }), { code: 'EADDRINUSE' })
  await Promise.all([alice.close(), again.close()])
  const third = await open('alice')
  t.equal(await third.listen({ host: HOST }), elsewhere)
  const dora = await open('dora')
  rmSync(dirOf('dora'), { recursive: true })
  t.ok(await dora.listen({ host: HOST }), 'also where that cannot be saved')
})

t.test('a caller that is unknown, offline, or one too many is refused', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  const offline = await tracker.open('offline')
  await offline.register()
  const stranger = await createPeer('stranger')
  const call = async (as?: { certificate: string; privateKey: string }) => {
    const refused = once(alice, 'refused')
    const credentials = as && { cert: as.certificate, key: as.privateKey }
    const socket = connect({ host: HOST, port: alice.port, rejectUnauthorized: false, ...credentials })
    socket.on('error', () => {}).write('let me in')
    const verdict = socket.setEncoding('utf8').toArray()
    const [reason, address] = await refused
    t.equal(address, HOST)
    return { reason, verdict: (await verdict).join('') }
  }
  alice.on('connection', () => t.fail('somebody got through'))
  t.match(await call(), { reason: { message: /no certificate/ }, verdict: 'refused unavailable\n' })
  const notOnline = { reason: { code: 'peer_not_found' }, verdict: 'refused not_online\n' }
  t.match(await call(stranger), notOnline)
  t.match(await call(offline.credentials), notOnline)
  await t.rejects(offline.connect('alice@example.com'), { code: 'refused', reason: 'not_online' })

  const waiting = Array.from({ length: 300 }, () => connectTcp(alice.port, HOST).on('error', () => {}))
  await eventually(
    async () => waiting.filter(({ closed, destroyed }) => closed || destroyed).length,
    (n) => n >= 44
  )
  t.equal(waiting.filter(({ closed }) => !closed).length, 256, 'no more than these are in the handshake')
  t.match(await call(stranger), notOnline, 'and the latest one is heard')
  await alice.close()
  await Promise.all(waiting.filter(({ closed }) => !closed).map((socket) => once(socket.resume(), 'close')))
  t.pass('and none of them when it closes')
})

t.test('a peer listens at one port at a time, until it is closed', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  const isOpen = async (port: number) => {
    const socket = connectTcp(port, HOST)
    const answer = await once(socket, 'connect').then(
      () => true,
      () => false
    )
    socket.destroy()
    return answer
  }
  const listen = () => alice.listen({ host: HOST, port: 0 })
  const [first, second] = await Promise.all([listen(), listen()])
  t.same([await isOpen(first), await isOpen(second)], [false, true], 'the last call counts')
  const bob = await tracker.open('bob')
  await t.rejects(bob.listen({ host: HOST, port: second }), { code: 'EADDRINUSE' })
  const third = bob.listen({ host: HOST })
  await bob.close()
  t.notOk(await isOpen(await third), 'what was about to listen is closed too')
})

t.test('a caller that leaves before it is identified is ignored', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  alice.on('connection', () => t.fail('it has gone'))
  await tracker.sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    const { certificate: cert, privateKey: key } = bob.credentials
    const socket = connect({ host: HOST, port: alice.port, cert, key, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    await lockedOut(tracker.sql)
    socket.destroy()
    await setTimeout(300)
  })
  t.match(await alice.list(), [{ email: 'bob@example.com' }])
  await setTimeout(300)
})

t.test('a watcher reconnects after failures, and ignores events that it does not know', async (t) => {
  let calls = 0
  const { url, ca } = await startServer(t, (_, response) => {
    if (++calls === 2) response.writeHead(503).end('{"error":"busy","code":"service_unavailable"}')
    else response.end(`${calls === 1 ? 'retry: 1' : ':'}\n\nevent: weather\ndata: {}\n\nevent: list\ndata: []\n\n`)
  })
  const alice = await RelayPeer.open({
    dir: join(t.testdir({}), 'alice'),
    tracker: url,
    email: 'alice@example.com',
    ca
  })
  t.teardown(() => alice.close())
  const types: string[] = []
  for await (const { type } of alice.watch()) {
    types.push(type)
    if (types.length === 6) break
  }
  t.same(types, ['connected', 'list', 'disconnected', 'connected', 'disconnected', 'connected'])
  t.equal(calls, 4)
})

t.test('an impostor in the place of a peer is sent nothing', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.open('bob')]
  await bob.register()
  const impostor = await startImpostor(t)
  await bob.announce({ port: impostor.port, addresses: [ANNOUNCED] })
  await t.rejects(alice.connect('bob@example.com'), { name: 'PeerError', code: 'impostor' })
  t.equal(impostor.heard(), '')
  impostor.close()
  await t.rejects(alice.connect('bob@example.com'), { name: 'PeerError', code: 'peer_unreachable' })
})

t.test('a rotation interrupts neither calls nor connections', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  alice.on('connection', (socket) => socket.end())
  const before = alice.credentials
  const kept = await bob.connect('alice@example.com')
  let isOver = false
  let calls = 0
  const load = Array.from({ length: 4 }, async (_, n) => {
    while (!isOver) {
      if (n === 3) await once((await bob.connect('alice@example.com')).resume(), 'close')
      else if (n === 2) await bob.lookup('alice@example.com')
      else await alice.list()
      calls++
    }
  })
  for (let n = 0; n < 3; n++) {
    const { fingerprint } = await alice.rotate()
    t.equal(alice.credentials.fingerprint, fingerprint)
    t.match(await bob.lookup('alice@example.com'), { fingerprint })
    await setTimeout(1000) // `connect` outlasts one rotation, not two in a row
  }
  isOver = true
  await Promise.all(load)
  t.not(alice.credentials.fingerprint, before.fingerprint)
  t.ok(calls > 12)
  t.notOk(kept.destroyed && kept.errored)
})

t.test('a process continues after another one has rotated', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  alice.on('connection', (socket) => socket.end())
  const changes = alice.watch()
  t.match(await changes.next(), { value: { type: 'connected' } })
  t.match(await changes.next(), { value: { type: 'list' } })
  const other = await tracker.open('alice')
  const { fingerprint } = await other.rotate()
  const rotated = once(alice, 'rotated')
  const socket = await bob.connect('alice@example.com')
  t.pass('callers find the new certificate at once')
  socket.destroy()
  await alice.list()
  t.equal(alice.credentials.fingerprint, fingerprint)
  await rotated
  t.match(await changes.next(), { value: { type: 'disconnected' } })
  t.match(await changes.next(), { value: { type: 'connected' } }, 'also who watches')
})

t.test('a certificate that is about to expire is replaced', async (t) => {
  const tracker = await startTracker(t, { BROADCAST_TTL_SECONDS: '2' })
  await tracker.open('alice')
  const notBefore = new Date(Date.now() - 270 * 86_400_000)
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'alice', notBefore })
  writeFileSync(join(tracker.dirOf('alice'), 'identity.pem'), privateKey + certificate)
  const warnings: string[] = []
  const logger = { info() {}, warn: (message: string) => warnings.push(message) }
  const alice = await RelayPeer.open({ dir: tracker.dirOf('alice'), logger })
  t.teardown(() => alice.close())
  await alice.register()
  const { fingerprint } = alice.credentials
  const rotated = once(alice, 'rotated')
  await tracker.sql`alter table pending_certificates rename to away`
  await alice.announce({ port: 1, addresses: [ANNOUNCED] })
  await eventually(
    async () => warnings,
    ({ length }) => length > 0
  )
  t.match(warnings, [/^the certificate was not replaced, trying again later: /], 'online also when that fails')
  await tracker.sql`alter table away rename to pending_certificates`
  t.match(await rotated, [{ notAfter: Date }], 'with the next announcement')
  t.not(alice.credentials.fingerprint, fingerprint)
})

t.test('a watcher sees peers come, change, go and expire', async (t) => {
  const tracker = await startTracker(t, { BROADCAST_TTL_SECONDS: '60' })
  const bob = await tracker.open('bob')
  await bob.register()
  const watching = new AbortController()
  const changes = bob.watch({ signal: watching.signal })
  const next = async () => (await changes.next()).value as Change
  t.same(await next(), { type: 'connected' })
  t.same(await next(), { type: 'list', peers: [] })
  const alice = await tracker.up('alice')
  t.match(await next(), { type: 'online', peer: { email: 'alice@example.com', port: alice.port } })
  await alice.close()
  t.same(await next(), { type: 'offline', email: 'alice@example.com' })
  await tracker.up('carol')
  t.match(await next(), { type: 'online', peer: { email: 'carol@example.com' } })
  await tracker.sql`update broadcasts set expires_at = now() + interval '1 s'`
  await eventually(
    () => tracker.sql`delete from broadcasts where expires_at <= now() returning id`,
    ({ length }) => length === 1
  )
  t.same(await next(), { type: 'offline', email: 'carol@example.com' }, 'deleted as the worker does')

  await tracker.fastify.close()
  t.match(await next(), { type: 'disconnected', reason: { code: 'tracker_unreachable' } })
  const again = next()
  await tracker.restart()
  t.same(await again, { type: 'connected' }, 'after a restart of the tracker')
  const last = changes.next()
  watching.abort(new Error('seen enough'))
  t.match(await last, { done: true })

  const stranger = await tracker.open('stranger')
  const unknown = { type: 'disconnected', reason: { code: 'certificate_unknown' }, nextAttempt: Date }
  t.match((await stranger.watch().next()).value, unknown, 'an announcement will register it')
  await tracker.sql`delete from clients where email = 'bob@example.com'`
  await t.rejects(bob.own(), { code: 'certificate_unknown' })
})

t.test('50 peers that expired while the tracker was away come back', async (t) => {
  const tracker = await startTracker(t, { BROADCAST_TTL_SECONDS: '4' })
  const names = Array.from({ length: 50 }, (_, n) => `peer-${n}`)
  const turn = pLimit(5) // the keys are made on the machine that serves
  const peers = await Promise.all(names.map((name) => turn(() => tracker.up(name))))
  const watcher = await tracker.open('watcher')
  await watcher.register()
  t.equal((await watcher.list()).length, 50)
  await tracker.fastify.close()
  await eventually(
    () => tracker.sql`select from broadcasts where expires_at > now()`,
    ({ length }) => length === 0
  )
  await tracker.restart()
  await eventually(
    () => watcher.list(),
    ({ length }) => length === 50,
    60
  )
  t.pass('all are back')
  await Promise.all(peers.map((peer) => peer.close()))
})

t.test('a peer that the tracker has lost registers again, and reports a failure that lasts', async (t) => {
  const tracker = await startTracker(t, { BROADCAST_TTL_SECONDS: '2' })
  const alice = await tracker.up('alice')
  await tracker.sql`delete from clients`
  await eventually(
    () => tracker.sql`select from broadcasts`,
    ({ length }) => length === 1
  )
  t.match(await alice.own(), { email: 'alice@example.com' }, 'registered again')

  const stopped = new Promise((resolve) => alice.on('state', (state) => state.name === 'stopped' && resolve(state)))
  await tracker.take('alice')
  t.match(await stopped, { reason: { code: 'email_taken' } })
  t.match(alice.state, { name: 'stopped', reason: { code: 'email_taken' } })
})

t.test('a peer waits for a tracker that is away, and says so', async (t) => {
  const tracker = await startTracker(t)
  const bob = await tracker.open('bob')
  await tracker.fastify.close()
  const state = once(bob, 'state')
  const announced = t.rejects(bob.announce({ port: 1, addresses: [ANNOUNCED], ttl: 60 }), { code: 'withdrawn' })
  t.match(await state, [{ name: 'starting' }])
  t.match(await once(bob, 'state'), [{ name: 'retrying', reason: { code: 'tracker_unreachable' }, nextAttempt: Date }])
  const giveUp = AbortSignal.timeout(10)
  await t.rejects(bob.register({ signal: AbortSignal.abort(new Error('no')) }), /no/)
  await t.rejects(bob.announce({ port: 1, signal: giveUp }), { name: 'TimeoutError' })
  t.equal(bob.state.name, 'stopped')
  const again = t.rejects(bob.announce({ port: 1, addresses: [ANNOUNCED] }), { code: 'closed' })
  await once(bob, 'state')
  await bob.close()
  await again
  await announced
})

t.test('a peer that is forgotten leaves nothing behind', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  await alice.register()
  await alice.forget()
  t.notOk(RelayPeer.exists(tracker.dirOf('alice')))
  await tracker.relay.register({ ...(await createPeer('new')), email: 'alice@example.com' })
  const bob = await tracker.open('bob')
  await bob.forget()
  t.notOk(RelayPeer.exists(tracker.dirOf('bob')), 'also who was not registered')
  const carol = await tracker.open('carol')
  await tracker.fastify.close()
  await t.rejects(carol.forget(), { code: 'tracker_unreachable' })
  t.ok(RelayPeer.exists(tracker.dirOf('carol')), 'nothing is deleted before')
  rmSync(tracker.dirOf('carol'), { recursive: true })
})

t.test('an identity that has expired is forgotten, and its address is free', async (t) => {
  const { open, dirOf, sql } = await startTracker(t)
  await (await open('alice')).register()
  const notBefore = new Date(Date.now() - 2 * 86_400_000)
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'alice', notBefore, days: 1 })
  writeFileSync(join(dirOf('alice'), 'identity.pem'), privateKey + certificate)
  await sql`update clients set not_before = now() - interval '2 s', not_after = now()`
  const expired = await open('alice')
  await t.rejects(expired.register(), { status: 400, code: 'certificate_expired' })
  await expired.forget()
  t.notOk(RelayPeer.exists(dirOf('alice')))
  t.same(await (await open('alice')).register(), { isEmailPending: false })
})

t.test('a peer that is revoked goes offline for good, and can be forgotten here', async (t) => {
  const { open, up, dirOf, sql } = await startTracker(t)
  const alice = await up('alice')
  await sql`update clients set revoked_at = now()`
  const REVOKED = { status: 401, code: 'certificate_revoked', isTemporary: false }
  await t.rejects(alice.announce({ port: alice.port, addresses: [ANNOUNCED] }), REVOKED)
  await t.rejects(alice.list(), REVOKED)
  await t.rejects(alice.rotate(), REVOKED)
  await t.rejects(alice.watch().next(), REVOKED)
  await alice.close()
  const again = await open('alice')
  await t.rejects(again.register(), { status: 403, code: 'certificate_revoked' })
  await again.forget()
  t.notOk(RelayPeer.exists(dirOf('alice')))
  t.match(await sql`select from clients`, { count: 1 }, 'at the tracker it is kept')
})
