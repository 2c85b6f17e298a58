import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import tls from 'node:tls'

/** Milliseconds that a program would stay for if a timer were left behind; its test would end it before. */
const HOUR = 3_600_000
/** The tracker's database puts the loopback address in its place. */
const ANNOUNCED = '192.0.2.1'

/**
 * Two peers do with each other what the library offers. It runs wherever JavaScript does: Node.js 22 must parse it.
 *
 * @param {typeof import('relay-tracker/peer')} library
 */
export async function meet(library, { TRACKER: tracker, CA: ca, DIR: dir, DOMAIN: domain } = process.env) {
  const { RelayPeer, PeerError, TrackerError, peerFingerprint } = library
  const open = (name) => RelayPeer.open({ dir: join(dir, name), tracker, email: `${name}@${domain}`, ca })
  const [alice, bob] = [await open('alice'), await open('bob')]
  let isBobIn = true
  for (const peer of [alice, bob]) {
    assert.deepEqual(await peer.register(), { isEmailPending: false })
    const port = await peer.listen({ host: '127.0.0.1', accept: () => peer === alice || isBobIn })
    await peer.announce({ port, addresses: [ANNOUNCED] })
    assert.equal(peer.state.name, 'online')
    console.log(peer.email, 'is online')
  }
  const again = await open('alice')
  await assert.rejects(again.announce({ port: 1, addresses: [ANNOUNCED] }), { code: 'already_running' })
  await again.close()
  await assert.rejects(
    alice.lookup(`nobody@${domain}`),
    (error) => error instanceof TrackerError && error.code === 'peer_not_found'
  )
  const found = await alice.lookup(bob.email)
  assert.equal(found.fingerprint, bob.credentials.fingerprint)
  console.log('Alice found Bob')

  const changes = alice.watch()
  await next(changes, ({ type, peers }) => type === 'list' && peers.some(({ email }) => email === bob.email))
  console.log('Alice watches')
  await bob.update({ capabilities: { chat: true } })
  await next(changes, ({ type, peer }) => type === 'online' && peer.capabilities.chat)
  await talk(alice, bob)
  await talk(bob, alice)
  await bob.rotate()
  console.log('Bob has a new certificate')
  await talk(alice, bob)
  await talk(bob, alice)
  assert.equal(alice.knownPeers[0].fingerprint, bob.credentials.fingerprint)

  isBobIn = false
  await assert.rejects(
    alice.connect(bob.email, { timeout: HOUR }),
    (error) => error instanceof PeerError && error.code === 'refused' && error.reason === 'declined'
  )
  console.log('Bob declined Alice')

  const server = tls.createServer(bob.tlsOptions(), (socket) => socket.end(`${peerFingerprint(socket)}\n`))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const socket = tls.connect({ ...alice.tlsOptions(), host: '127.0.0.1', port: server.address().port })
  assert.equal(String(await once(socket, 'data')), `${alice.credentials.fingerprint}\n`)
  assert.equal(peerFingerprint(socket), bob.credentials.fingerprint)
  socket.end()
  await once(socket, 'close')
  server.close()
  console.log("Bob's own server saw who called")

  await bob.withdraw()
  await next(changes, ({ type, email }) => type === 'offline' && email === bob.email)
  console.log('Alice saw Bob go offline')
  await Promise.all([alice.close(), bob.close()])
  await assert.rejects(alice.list(), { code: 'closed' })
  console.log('done')
}

async function next(changes, matches) {
  for (;;) {
    const { value } = await changes.next()
    if (matches(value)) return
  }
}

async function talk(caller, callee) {
  const calls = once(callee, 'connection')
  const socket = await caller.connect(callee.email, { timeout: HOUR })
  const [accepted, peer] = await calls
  assert.equal(peer.email, caller.email)
  assert.equal(peer.fingerprint, caller.credentials.fingerprint)
  socket.write(`Hello ${callee.email}\n`)
  assert.equal(String(await once(accepted, 'data')), `Hello ${callee.email}\n`)
  accepted.end(`Hello ${caller.email}\n`)
  assert.equal(String(await once(socket, 'data')), `Hello ${caller.email}\n`)
  const closed = once(accepted, 'close')
  socket.end()
  await closed
  console.log(caller.email, 'talked with', callee.email)
}
