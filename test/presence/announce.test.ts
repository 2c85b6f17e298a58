import t from 'tap'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { createPeer, edgeHeader, registerOutOfForce, registerPeer } from '../support/peers.ts'

t.test('a peer announces where it listens', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const reply = await relay.ready(alice)
  t.match(reply, {
    status: 200,
    body: { broadcast_id: /^[0-9a-f-]{36}$/, expires_in: 3600, observed_address: '127.0.0.1' }
  })
  t.same(Object.keys(reply.body), ['broadcast_id', 'expires_in', 'observed_address'])
  const pace = Number(reply.headers['reannounce-after'])
  t.ok(pace >= 1440 && pace <= 1800, `to come again after ${pace} s`)
})

t.test('a peer asks for its own broadcast, and withdraws it', async (t) => {
  const { relay } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const offline = { status: 404, body: { error: String, code: 'not_online' } }
  t.match(await relay.own(alice), offline)
  t.match(await relay.withdraw(alice), { status: 204, body: '' }, 'although it is offline already')
  await relay.ready(alice)
  await relay.ready(bob)
  t.same((await relay.own(alice)).body, (await relay.lookup(bob, alice.email)).body)
  t.match(await relay.withdraw(alice), { status: 204, body: '' })
  t.match(await relay.withdraw(alice), { status: 204, body: '' })
  t.match(await relay.own(alice), offline)
  t.match(await relay.lookup(bob, alice.email), { status: 404 })
  t.match(await relay.own(bob), { status: 200, body: { email: bob.email } }, 'nobody else')
  for (const call of [relay.own, relay.withdraw]) t.match(await call(undefined), { status: 401 })
})

t.test('an expired broadcast is offline for its own peer too', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await relay.ready(alice)
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() - interval '1 ms'`
  t.match(await relay.own(alice), { status: 404 })
})

t.test('a peer may ask for less time', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const reply = await relay.ready(alice, { ...ANNOUNCEMENT, ttl: 60 })
  t.match(reply, { status: 200, body: { expires_in: 60 } })
  const pace = Number(reply.headers['reannounce-after'])
  t.ok(pace >= 24 && pace <= 30, `to come again after ${pace} s`)
  const { body } = await relay.own(alice)
  t.equal(Date.parse(body.expires_at) - Date.parse(body.last_seen), 60_000)
  t.match(await relay.ready(alice, { ...ANNOUNCEMENT, ttl: 3600 }), { status: 200, body: { expires_in: 3600 } })
  for (const ttl of [59, 3601, 60.5, '60', null]) {
    t.match(await relay.ready(alice, { ...ANNOUNCEMENT, ttl }), { status: 400, body: { code: 'invalid_ttl' } })
  }
})

t.test('a client removed while it announces gets 401', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`delete from clients`
    const reply = relay.ready(alice)
    await lockedOut(sql)
    await transaction`commit`
    t.match(await reply, { status: 401, body: { code: 'certificate_unknown' } })
  })
})

t.test('a locked row delays no other announcement', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database: `${url}?lock_timeout=300` })
  const peers = await Promise.all(['alice', 'bob', 'carol'].map((name) => registerPeer(relay, name)))
  for (const peer of peers) t.match(await relay.ready(peer), { status: 200 })
  await sql.begin(async (transaction) => {
    await transaction`select from broadcasts b join clients c on c.id = b.client_id where email like 'bob%' for update`
    const answers = await Promise.all(peers.map((peer) => relay.ready(peer)))
    t.same(
      answers.map(({ status }) => status),
      [200, 503, 200]
    )
  })
})

t.test('a new announcement replaces the last one, keeps its id and renews its hour', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  const first = await relay.ready(alice)
  await sql`update broadcasts set
    created_at = created_at - interval '1 day',
    last_announced_at = last_announced_at - interval '1 hour',
    expires_at = expires_at - interval '1 hour'`
  t.match(await relay.lookup(alice, alice.email), { status: 404 }, 'the hour is over')

  const second = await relay.ready(alice, { port: 1, addresses: ['10.0.0.9'] })
  t.equal(second.body.broadcast_id, first.body.broadcast_id)
  const { body } = await relay.lookup(alice, alice.email)
  t.match(body, { port: 1, addresses: ['10.0.0.9'], capabilities: {} })
  t.equal(Date.parse(body.expires_at) - Date.parse(body.last_seen), 3_600_000)
  const [row] =
    await sql`select count(*)::int as count, min(now() - created_at) > interval '1 day' as kept from broadcasts`
  t.same(row, { count: 1, kept: true })
})

t.test('200 announcements at once make one broadcast', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  const replies = await Promise.all(
    Array.from({ length: 200 }, (_, n) => relay.ready(alice, { ...ANNOUNCEMENT, port: n + 1 }))
  )
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
  t.equal(new Set(replies.map(({ body }) => body.broadcast_id)).size, 1)
  t.same(await sql`select count(*)::int from broadcasts`, [{ count: 1 }])
})

t.test('BROADCAST_TTL_SECONDS says how long an announcement lasts', async (t) => {
  const { relay } = await startApi(t, { env: { BROADCAST_TTL_SECONDS: '60' } })
  const alice = await registerPeer(relay)
  t.equal((await relay.ready(alice)).body.expires_in, 60)
  const { body } = await relay.lookup(alice, alice.email)
  t.equal(Date.parse(body.expires_at) - Date.parse(body.last_seen), 60_000)
})

t.test('0.0.0.0 and :: become the address from which the caller comes, if others can reach that', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const announce = (headers: Record<string, string>, addresses = ['0.0.0.0', '10.0.0.1', '::']) =>
    relay.call('/broadcast/ready', { as: alice, body: { port: 1, addresses }, headers })
  for (const [headers, observed_address] of [
    [{ 'x-forwarded-for': '203.0.113.9' }, '203.0.113.9'],
    // The first entry comes from the peer, and does not count.
    [{ 'x-forwarded-for': '198.51.100.1, 2001:DB8::9' }, '2001:db8::9']
  ] as [Record<string, string>, string][]) {
    t.match(await announce(headers), { body: { observed_address } })
    const addresses = [observed_address, '10.0.0.1']
    t.match(await relay.lookup(alice, alice.email), { body: { addresses, observed_address } })
  }
  for (const [headers, observed_address] of [
    [{}, '127.0.0.1'],
    [{ 'x-forwarded-for': '127.0.0.9' }, '127.0.0.9'],
    [{ 'x-forwarded-for': '::ffff:127.0.0.1' }, '127.0.0.1'],
    [{ 'x-forwarded-for': '::1' }, '::1'],
    [{ 'x-forwarded-for': 'fe80::9%eth0' }, 'fe80::9'],
    [{ 'x-forwarded-for': 'unknown' }, null]
  ] as [Record<string, string>, string | null][]) {
    t.match(await announce(headers), { status: 200, body: { observed_address } })
    t.match(await relay.lookup(alice, alice.email), { body: { addresses: ['10.0.0.1'], observed_address } })
    for (const address of ['0.0.0.0', '::']) {
      t.match(await announce(headers, [address]), { status: 400, body: { code: 'invalid_addresses' } })
    }
  }
  await relay.ready(alice)
  t.match(
    await relay.own(alice),
    { body: { ...ANNOUNCEMENT, observed_address: '127.0.0.1' } },
    'regardless of what it claims'
  )
})

t.test('capabilities are returned as they were sent', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  for (const capabilities of [
    '{}',
    '{"zebra":1,"apple":{"y":[1,2,{"x":null}],"b":true},"":"","ü":"😀"}',
    '{"a\\nb":1,"\u2028":2}',
    '{"nul":"\\u0000","quote":"\\""}'
  ]) {
    const body = `{"port":1,"addresses":["10.0.0.1"],"capabilities":${capabilities}}`
    t.match(await relay.ready(alice, body), { status: 200 }, encodeURI(capabilities))
    t.equal(JSON.stringify((await relay.lookup(alice, alice.email)).body.capabilities), capabilities)
  }
  const capabilities = { fill: 'ü'.repeat((4096 - '{"fill":""}'.length - 1) / 2) }
  t.match(await relay.ready(alice, { ...ANNOUNCEMENT, capabilities }), { status: 200 }, 'up to 4 KiB')
})

t.test('bad input is refused, and the last announcement stays', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  await relay.ready(alice)
  const before = (await relay.lookup(alice, alice.email)).body
  const nested = (levels: number) => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`)
  const deep = `{"port":1,"addresses":["10.0.0.1"],"capabilities":${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}}`
  const bodies: [unknown, string][] = [
    ...[undefined, null, '54321', 1.5, 0, -1, 65536, true, [1], {}].map(
      (port) => [{ ...ANNOUNCEMENT, port }, 'invalid_port'] as [unknown, string]
    ),
    ...[
      ...[
        undefined,
        null,
        '10.0.0.1',
        {},
        [],
        [1],
        [null],
        [['10.0.0.1']],
        ['localhost'],
        ['127.0.0.1'],
        ['fe80::1%eth0']
      ],
      ...[['224.0.0.1'], ['10.0.0.1', '10.0.0.1'], Array.from({ length: 17 }, (_, n) => `10.0.0.${n}`)]
    ].map((addresses) => [{ ...ANNOUNCEMENT, addresses }, 'invalid_addresses'] as [unknown, string]),
    ...[null, [], 'chat', 1, { a: 'x'.repeat(4090) }].map(
      (capabilities) => [{ ...ANNOUNCEMENT, capabilities }, 'invalid_capabilities'] as [unknown, string]
    ),
    [{ ...ANNOUNCEMENT, capabilities: nested(33) }, 'bad_request'],
    [deep, 'bad_request'],
    [{ ...ANNOUNCEMENT, ttl: 1 }, 'invalid_ttl'],
    [{ ...ANNOUNCEMENT, expires_in: 1 }, 'invalid_request'],
    ['[]', 'invalid_request'],
    ['{', 'bad_request']
  ]
  for (const [body, code] of bodies) {
    const reply = await relay.ready(alice, body)
    t.match(reply, { status: 400, body: { error: String, code } }, JSON.stringify(body).slice(0, 100))
  }
  t.same((await relay.lookup(alice, alice.email)).body, before)
  t.match(await relay.ready(alice, { ...ANNOUNCEMENT, capabilities: nested(32) }), { status: 200 })
  t.match(await relay.ready(alice, { port: 65535, addresses: Array.from({ length: 16 }, (_, n) => `10.0.0.${n}`) }), {
    status: 200
  })
})

t.test('an error says in words what is wrong', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const errors = async (body: unknown) => (await relay.ready(alice, body)).body.error
  t.equal(await errors({ ...ANNOUNCEMENT, port: '1' }), 'port must be an integer from 1 to 65535')
  t.equal(await errors({ port: 1 }), 'addresses is missing')
  t.equal(await errors({ ...ANNOUNCEMENT, addresses: ['10.0.0.1', 2] }), 'addresses/1 must be string')
  t.equal(await errors({ ...ANNOUNCEMENT, adresses: [] }), 'unknown member: adresses')
  t.equal(await errors([]), 'the request must be object')
})

t.test('an unregistered caller cannot announce', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.ready(undefined), { status: 401, body: { error: String, code: 'certificate_required' } })
  t.match(await relay.ready(await createPeer()), { status: 401, body: { error: String, code: 'certificate_unknown' } })
  t.match(await relay.ready(undefined, 'not even JSON'), { status: 401 }, 'and learns nothing about its body')
  const large = { body: 'x'.repeat(20_000) }
  t.match(await relay.call('/broadcast/ready', large), { status: 401 })
  t.match(
    await relay.call('/broadcast/ready', { ...large, headers: edgeHeader(await createPeer()) }),
    { status: 413 },
    'the validity of a certificate is checked by the statement that uses it'
  )
})

t.test('a caller whose certificate is not valid cannot announce', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  for (const { code, peer } of await registerOutOfForce(relay, sql)) {
    t.match(await relay.ready(peer), { status: 401, body: { error: String, code } })
  }
  t.same(await sql`select from broadcasts`, [])
})
