import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KnownPeers } from '../../peer/src/connections/known-peers.ts'
import { peerFingerprint, RelayPeer } from '../../peer/src/index.ts'
import { createPeer } from '../support/peers.ts'
import { ANNOUNCED, HOST, startTracker } from './helper.ts'

/** Calls, and returns the first words of the callee. */
async function talk(from: RelayPeer, to: Parameters<RelayPeer['connect']>[0]) {
  const socket = await from.connect(to)
  return (await socket.setEncoding('utf8').toArray()).join('')
}

t.test('two peers that met once connect while the tracker is away', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  const carol = await tracker.up('carol')
  for (const peer of [alice, bob]) peer.on('connection', (socket, { email }) => socket.end(`hello ${email}`))
  t.same(alice.knownPeers, [])
  t.equal(await talk(alice, 'bob@example.com'), 'hello alice@example.com')
  const known = { fingerprint: bob.credentials.fingerprint, port: bob.port, addresses: [HOST], last_connected: String }
  t.match(alice.knownPeers, [{ email: 'bob@example.com', ...known }])
  t.match(bob.knownPeers, [{ email: 'alice@example.com', fingerprint: alice.credentials.fingerprint }], 'a caller too')
  t.equal(statSync(join(tracker.dirOf('alice'), 'known-peers.json')).mode & 0o777, 0o600)

  await tracker.fastify.close()
  t.equal(await talk(alice, 'bob@example.com'), 'hello alice@example.com')
  t.equal(await talk(bob, 'Alice@example.com'), 'hello bob@example.com', 'one that only called before')
  const again = await RelayPeer.open({ dir: tracker.dirOf('alice') })
  t.teardown(() => again.close())
  t.equal(await talk(again, 'bob@example.com'), 'hello alice@example.com', 'after a restart')

  await t.rejects(carol.connect('bob@example.com'), { code: 'tracker_unreachable' }, 'nobody knows a stranger')
  const described = {
    ...known,
    email: 'bob@example.com',
    capabilities: {},
    observed_address: null,
    last_seen: '',
    expires_at: ''
  }
  await t.rejects(carol.connect({ ...described, last_connected: '' } as never), {
    code: 'refused',
    reason: 'unavailable'
  })

  t.ok(alice.forgetPeer('Bob@example.com'))
  t.notOk(alice.forgetPeer('bob@example.com'))
  await t.rejects(alice.connect('bob@example.com'), { code: 'tracker_unreachable' })
})

t.test('a signed rotation goes unnoticed, and any other new certificate needs trust', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  for (const peer of [alice, bob]) peer.on('connection', (socket) => socket.end('hello'))
  await talk(alice, 'bob@example.com')
  for (let n = 0; n < 3; n++) await bob.rotate()
  t.equal(await talk(alice, 'bob@example.com'), 'hello', 'three at once')
  t.equal(await talk(bob, 'alice@example.com'), 'hello', 'also when it calls')
  const known = bob.credentials.fingerprint
  t.match(alice.knownPeers, [{ fingerprint: known }])

  await bob.forget()
  const mallory = await tracker.up('bob')
  mallory.on('connection', (socket) => socket.end('it is me, bob'))
  const presented = mallory.credentials.fingerprint
  const changed = {
    name: 'PeerError',
    code: 'fingerprint_changed',
    known,
    presented,
    message: /old key has not signed/
  }
  await t.rejects(alice.connect('bob@example.com'), changed)
  const refused = once(alice, 'refused')
  await t.rejects(mallory.connect('alice@example.com'), { code: 'refused', reason: 'fingerprint_changed' })
  t.match(await refused, [changed, HOST])
  t.match(await tracker.run('alice', 'connect', 'bob@example.com'), { code: 4, output: /relay-peer trust/ })
  const advice = /another certificate\ntell its owner your new fingerprint/
  t.match(await tracker.run('bob', 'connect', 'alice@example.com'), { code: 3, output: advice })

  t.throws(() => alice.trust('bob@example.com', 'nonsense'), { code: 'invalid_argument' })
  t.match(await tracker.run('alice', 'trust', 'bob@example.com', presented), { code: 0 })
  t.equal(await talk(alice, 'bob@example.com'), 'it is me, bob')
  t.match(await tracker.run('alice', 'known'), { output: new RegExp(`bob@example.com +${presented} +2`) })
  t.match(await tracker.run('alice', 'trust', 'eve@example.com', `-${'a'.repeat(42)}`, '--json'), { code: 0 })
  t.match(await tracker.run('carol', ...tracker.init('carol')), { code: 0 })
  t.match(await tracker.run('carol', 'known'), { output: 'No known peers yet\n' })
})

t.test('a peer can be trusted before it is met, and then no other is', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  bob.on('connection', (socket) => socket.end('hello'))
  alice.trust('bob@example.com', alice.credentials.fingerprint)
  await t.rejects(alice.connect('bob@example.com'), { code: 'fingerprint_changed' })
  alice.trust('bob@example.com', bob.credentials.fingerprint)
  t.match(alice.knownPeers, [{ port: 0, addresses: [], last_connected: null }])
  t.match(await tracker.run('alice', 'known'), { output: /bob@example.com +[\w-]{43}\n/ })
  t.equal(await talk(alice, 'bob@example.com'), 'hello')
  alice.trust('bob@example.com', bob.credentials.fingerprint)
  await bob.rotate()
  t.equal(await talk(alice, 'bob@example.com'), 'hello', 'its key is still known')
})

t.test('an application decides whom to accept', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  bob.on('connection', (socket) => socket.end('hello'))
  const port = await bob.listen({ host: HOST, accept: async ({ email }) => email !== 'alice@example.com' })
  await bob.update({ port })
  const refused = once(bob, 'refused')
  await t.rejects(alice.connect('bob@example.com'), { code: 'refused', reason: 'declined', message: /application/ })
  t.match(await refused, [{ code: 'refused', reason: 'declined' }, HOST])
  t.same(alice.knownPeers, [])
  await bob.listen({ port: await bob.listen({ host: HOST }), host: HOST })
  await bob
    .listen({
      host: HOST,
      accept: () => {
        throw new Error('a fault of the application')
      }
    })
    .then((port) => bob.update({ port }))
  await t.rejects(alice.connect('bob@example.com'), { code: 'refused', reason: 'unavailable' })
})

t.test('connect gives up after its time, or with its signal', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.up('alice'), await tracker.up('bob')]
  bob.on('connection', (socket) => socket.end())
  const port = await bob.listen({ host: HOST, accept: () => new Promise(() => {}) })
  await bob.update({ port })
  const attempts = [{ address: HOST, port, code: 'timeout', message: /did not accept or refuse in time/ }]
  const late = { code: 'peer_unreachable', email: 'bob@example.com', attempts }
  await t.rejects(alice.connect('bob@example.com', { timeout: 300 }), late)
  await t.rejects(alice.connect('bob@example.com', { timeout: 1 }), {
    code: 'peer_unreachable',
    message: /the tracker did not say within/
  })
  await t.rejects(alice.connect('bob@example.com', { signal: AbortSignal.timeout(300) }), { name: 'TimeoutError' })
  const closed = t.rejects(alice.connect('bob@example.com'), { code: 'closed' })
  await alice.close()
  await closed
})

t.test('a TLS server of the application knows its callers by their fingerprints', async (t) => {
  const tracker = await startTracker(t)
  const [alice, bob] = [await tracker.open('alice'), await tracker.up('bob')]
  await alice.register()
  const { connect, createServer } = await import('node:tls')
  const server = createServer(bob.tlsOptions(), async (socket) => socket.end(String(peerFingerprint(socket))))
  t.teardown(() => server.close())
  await once(server.listen(0, HOST), 'listening')
  const { port } = server.address() as { port: number }
  const socket = connect({ ...alice.tlsOptions(), host: HOST, port })
  await once(socket, 'secureConnect')
  for (let n = 0; n < 2; n++) t.equal(peerFingerprint(socket), bob.credentials.fingerprint)
  t.equal((await socket.setEncoding('utf8').toArray()).join(''), alice.credentials.fingerprint)
  t.equal(peerFingerprint(socket), undefined, 'a closed connection has none any more')
})

t.test('known peers are bounded, and a damaged file is put aside', async (t) => {
  const dir = t.testdir({})
  const warnings: string[] = []
  const peers = new KnownPeers(dir, (message) => warnings.push(message))
  const { certificate, fingerprint } = await createPeer('x')
  const met = { fingerprint, certificate, port: 1, addresses: [ANNOUNCED] }
  peers.remember({ ...met, email: 'friend@example.com', address: ANNOUNCED })
  peers.remember({ ...met, email: 'moved@example.com', port: 1, address: '192.0.2.9' })
  peers.remember({ ...met, email: 'moved@example.com', port: 1, address: '192.0.2.8' })
  t.same(peers.find('moved@example.com')?.addresses, ['192.0.2.8', '192.0.2.9', ANNOUNCED])
  peers.remember({ ...met, email: 'moved@example.com', port: 2, address: '192.0.2.7' })
  t.same(peers.find('moved@example.com')?.addresses, ['192.0.2.7', ANNOUNCED], 'at another port they are worth nothing')

  const path = join(dir, 'known-peers.json')
  const { version, peers: entries } = JSON.parse(readFileSync(path, 'utf8'))
  const callers = Array.from({ length: 1500 }, (_, n) => [
    `caller-${n}@example.com`,
    { ...met, isChosen: false, last_connected: new Date(n).toISOString() }
  ])
  writeFileSync(path, JSON.stringify({ version, peers: { ...entries, ...Object.fromEntries(callers) } }))
  peers.remember({ ...met, email: 'newest@example.com' })
  t.equal(peers.list().length, 1002)
  for (const name of ['friend', 'moved', 'newest', 'caller-1499']) t.ok(peers.find(`${name}@example.com`), name)
  t.notOk(peers.find('caller-500@example.com'))

  writeFileSync(path, 'nonsense')
  t.same(peers.list(), [])
  t.match(warnings, [/known-peers.json was damaged, and is now known-peers.json.damaged/])
  t.ok(existsSync(`${path}.damaged`))
  peers.trust('new@example.com', fingerprint)
  t.match(peers.findByFingerprint(fingerprint), { email: 'new@example.com' })

  rmSync(path)
  mkdirSync(path)
  t.throws(() => peers.list(), { code: 'identity_unreadable' }, 'nobody is new because the file cannot be read')
  t.ok(existsSync(path), 'and it stays where it is')

  rmSync(dir, { recursive: true })
  peers.remember({ ...met, email: 'friend@example.com' })
  t.match(warnings.at(-1), /known-peers.json could not be saved/, 'a connection is worth more')
  t.throws(() => peers.trust('new@example.com', fingerprint), { code: 'identity_not_saved' })
})
