import t from 'tap'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { createPeer, registerOutOfForce, registerPeer } from '../support/peers.ts'

t.test('an online peer is found by its e-mail address', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')
  await relay.ready(alice)
  for (const email of [alice.email, 'ALICE@Example.com']) {
    const { status, body } = await relay.lookup(bob, email)
    t.equal(status, 200)
    const { last_seen, expires_at, ...rest } = body
    t.same(rest, { email: alice.email, ...ANNOUNCEMENT, observed_address: '127.0.0.1', fingerprint: alice.fingerprint })
    t.equal(new Date(last_seen).toISOString(), last_seen)
    t.equal(Date.parse(expires_at) - Date.parse(last_seen), 3_600_000)
    t.ok(Math.abs(Date.parse(last_seen) - Date.now()) < 60_000)
  }
})

t.test('an online peer is found by the certificate that it presents', async (t) => {
  const { relay } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  await relay.ready(alice)
  const found = await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: bob })
  t.equal(found.status, 200)
  t.same(found.body, (await relay.lookup(bob, alice.email)).body)
})

t.test('unknown, offline and expired peers get the same answer', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')
  await relay.ready(alice)
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() - interval '1 ms'`
  const answers = [
    await relay.lookup(bob, 'nobody@example.com'),
    await relay.lookup(bob, bob.email),
    await relay.lookup(bob, alice.email),
    await relay.call(`/broadcast/lookup?fingerprint=${bob.fingerprint}`, { as: bob }),
    await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: bob })
  ]
  for (const { status, headers, body } of answers) {
    t.same([status, body], [404, { error: 'no such peer is online', code: 'peer_not_found' }])
    const wait = Number(headers['retry-after'])
    t.ok(wait >= 60 && wait <= 75, `to try again after ${wait} s`)
  }
})

t.test('a query that is not a lookup is refused', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  for (const query of [
    ...['', '?', '?email', '?email=', '?email=alice', '?email=a@example.com&email=b@example.com'],
    ...['?email=alice@example.com&limit=1', '?email[]=alice@example.com', '?email=alice%00@example.com', '?e=%F0%28'],
    ...['?fingerprint=', '?fingerprint=abc', `?fingerprint=${alice.fingerprint}&email=${alice.email}`]
  ]) {
    const reply = await relay.call(`/broadcast/lookup${query}`, { as: alice })
    t.match(reply, { status: 400, body: { error: String, code: /^invalid_(email|fingerprint|request)$/ } }, query)
  }
})

t.test('an unregistered caller cannot look up', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.lookup(undefined, 'a@example.com'), { status: 401, body: { code: 'certificate_required' } })
  t.match(await relay.lookup(await createPeer(), 'a@example.com'), {
    status: 401,
    body: { code: 'certificate_unknown' }
  })
})

t.test('a caller whose certificate is not valid cannot look up', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  await relay.ready(alice)
  for (const { code, peer } of await registerOutOfForce(relay, sql)) {
    const refused = { status: 401, body: { error: String, code } }
    t.match(await relay.lookup(peer, alice.email), refused)
    t.match(await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: peer }), refused)
  }
})
