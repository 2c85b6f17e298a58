import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { ANNOUNCEMENT, client, startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { type Reply, unchanged } from '../support/http-client.ts'
import { addPeers } from '../support/many-peers.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { createPeer, edgeHeader, type Peer, registerPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'

/** Some 55 MB of JSON: more than the buffers of two sockets hold, even where one may grow to 32 MiB. */
const COUNT = 14_000
const PADDING = 3900

t.test('the list has everyone online except the caller', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const peers = []
  for (const name of ['dora', 'alice', 'carol', 'bob', 'offline']) peers.push(await registerPeer(relay, name))
  const [dora, alice, carol, bob] = peers as [(typeof peers)[0], ...typeof peers]
  t.same((await relay.list(alice)).body, [], 'nobody is online yet')

  for (const peer of [dora, alice, carol, bob]) await relay.ready(peer)
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() - interval '1 ms'
    where client_id = (select id from clients where email = ${carol?.email as string})`
  const { status, body } = await relay.list(alice)
  t.equal(status, 200)
  body.sort((a: Reply['body'], b: Reply['body']) => (a.email < b.email ? -1 : 1))
  t.match(body, [
    { ...ANNOUNCEMENT, email: 'bob@example.com', fingerprint: bob?.fingerprint, last_seen: String, expires_at: String },
    { ...ANNOUNCEMENT, email: 'dora@example.com', fingerprint: dora.fingerprint, last_seen: String, expires_at: String }
  ])
  t.equal(body.length, 2)
  t.same((await relay.lookup(alice, 'bob@example.com')).body, body[0], 'as lookup returns them')
})

t.test('the list equals lookup to the byte', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, origin } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, `o'b+{}|~^`)
  const text = async (path: string) => {
    const response = await get(`${origin}/api/relay/broadcast/${path}`, alice)
    return [response.headers['content-type'], (await response.setEncoding('utf8').toArray()).join('')]
  }
  const announcements = [
    { ...ANNOUNCEMENT, capabilities: {} },
    { port: 1, addresses: ['2001:db8::1', '10.0.0.1', '::ffff:a00:2', 'fd00::', '100.64.0.1'] },
    {
      ...ANNOUNCEMENT,
      capabilities: {
        '2': 1e21,
        '1': [-0.1, 5e-324, 1.5e300, null, true, [], {}],
        'ä€😀': '"\\/\b\f\n\r\t\u0001\u007f\u2028</script>',
        'a\u0000b': '\u0000'
      }
    }
  ]
  for (const announcement of announcements) {
    t.match(await relay.ready(bob, announcement), { status: 200 })
    for (const [time, observed] of [
      ['2026-01-02 03:04:05.999999+00', null],
      ['2026-10-25 01:30:00+02', '::1'],
      ['2026-12-31 23:59:59.12+00', '203.0.113.9']
    ] as [string, string | null][]) {
      await sql`update broadcasts set last_announced_at = ${time}::text::timestamptz, observed_address = ${observed},
        expires_at = ${time}::text::timestamptz + interval '100 years 1.1 ms'`
      const [type, one] = await text(`lookup?email=${encodeURIComponent(bob.email)}`)
      t.same(await text('list'), [type, `[${one}]`])
    }
  }
})

t.test('the list comes in pages', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'm')
  await relay.ready(alice)
  await addPeers(sql, 7)
  const { body: everyone } = await relay.list(alice)
  t.equal(everyone.length, 7)

  for (const limit of [1, 2, 3, 6, 7, 8, 1000]) {
    const pages = []
    let path: string | undefined = `/broadcast/list?limit=${limit}`
    while (path) {
      const { status, headers, body } = await relay.call(path, { as: alice })
      t.equal(status, 200)
      pages.push(body)
      const link: string = String(headers.link ?? '')
      path = /^<\/api\/relay(\/broadcast\/list\?[^>]+)>; rel="next"$/.exec(link)?.[1]
      t.equal(path === undefined, link === '')
    }
    t.equal(pages.length, Math.ceil(7 / limit), `${limit}: the last page, however full, has no next one`)
    t.ok(pages.every((page) => page.length <= limit))
    t.same(pages.flat(), everyone)
  }

  const { headers } = await relay.call('/broadcast/list?limit=3', { as: alice })
  const [, cursor] = /cursor=([\w-]+)>/.exec(String(headers.link)) as unknown as [string, string]
  const rest = () => relay.call(`/broadcast/list?cursor=${cursor}`, { as: alice })
  t.same((await rest()).body, everyone.slice(3), 'all the rest of it')
  t.notOk((await rest()).headers.link)
  await sql`delete from clients where email = ${everyone[2].email}`
  t.same((await rest()).body, everyone.slice(3), 'even if the last peer of the page has left')
})

t.test('a query that is not a page is refused', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const id = '0a1b2c3d-0a1b-4c3d-8a1b-0a1b2c3d4e5f'
  t.match(await relay.call(`/broadcast/list?cursor=${id}`, { as: alice }), { status: 200 })
  for (const [query, code] of [
    ...['0', '1001', '-1', '1.0', '1e2', '01', ' 1', '', 'ten', '1&limit=2'].map((n) => [
      `limit=${n}`,
      'invalid_limit'
    ]),
    ...[
      '',
      'bob@example.com',
      '!!!!',
      '1&cursor=2',
      id.toUpperCase(),
      id.replaceAll('-', ''),
      id.slice(1),
      `${id}0`
    ].map((cursor) => [`cursor=${cursor}`]),
    ...[`{${id}}`, `urn:uuid:${id}`, `${id}\n`, `${id}\0`, id.replace('a', '\u00e4'), 'x'.repeat(255)].map((cursor) => [
      `cursor=${encodeURIComponent(cursor)}`
    ]),
    ['page=2', 'invalid_request'],
    ['email=alice@example.com', 'invalid_request']
  ] as [string, string?][]) {
    const reply = await relay.call(`/broadcast/list?${query}`, { as: alice })
    t.match(reply, { status: 400, body: { error: String, code: code ?? 'invalid_cursor' } }, query)
  }
  t.match(await relay.call('/broadcast/list?limit=0'), { status: 401 }, 'the certificate is checked first')
})

t.test('HEAD has the headers of GET, and reads no more than the first page', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, fastify } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await addPeers(sql, 200)
  const { list } = fastify.repository
  const pages = t.capture(list, 'page', list.page)
  const get = await relay.list(alice)
  t.equal(pages().length, 2)
  const { status, headers } = await relay.call('/broadcast/list', { as: alice, method: 'HEAD' })
  t.equal(status, 200)
  t.equal(pages().length, 1)
  t.equal(headers['content-type'], get.headers['content-type'])
  t.match(headers, { etag: String, 'cache-control': String })
})

t.test('an unregistered caller gets no list', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.list(undefined), { status: 401, body: { code: 'certificate_required' } })
  t.match(await relay.list(await createPeer()), { status: 401, body: { code: 'certificate_unknown' } })
})

t.test('an unchanged list is 304', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const [alice, bob, carol] = [
    await registerPeer(relay, 'alice'),
    await registerPeer(relay, 'bob'),
    await registerPeer(relay, 'carol')
  ]
  await relay.ready(bob)
  await relay.ready(carol)
  const list = (tag?: string, { as = alice, path = '', method = 'GET' } = {}) =>
    relay.call(`/broadcast/list${path}`, { as, method, headers: tag ? { 'if-none-match': tag } : {} })
  const tagOf = ({ headers }: { headers: http.IncomingHttpHeaders }) => String(headers.etag)
  const holds = async (title: string, header = (tag: string) => tag) => {
    const reply = await unchanged(list, (tag) => list(header(tag)))
    t.match(reply, { headers: { etag: /^W\/"[\w-]{43}"$/, 'cache-control': 'private, no-cache' }, body: '' }, title)
    return tagOf(reply)
  }
  /** No tag from before `change` matches after it. */
  const changes = async (title: string, change: () => Promise<unknown>) => {
    const tag = await holds(`before: ${title}`)
    await change()
    t.match(await list(tag), { status: 200 }, title)
  }

  await holds('its own tag')
  await holds('strong, for the comparison is weak', (tag) => tag.replace('W/', ''))
  await holds('one of several', (tag) => `"a,b", ${tag} , W/"c"`)
  await holds('any', () => ' * ')
  t.match(await list('"*"'), { status: 200 })
  t.match(await list('W/""'), { status: 200 })
  t.match(await list((await holds('')).slice(3, -1)), { status: 200 }, 'without its quotes it is not a tag')
  await unchanged(list, (tag) => list(tag, { method: 'HEAD' }))
  const tag = await holds('')
  t.match(await list(tag, { as: bob }), { status: 200, body: [{ email: carol.email }] }, "another caller's list")
  const [first] = (await list()).body
  t.match(await list(tag, { path: '?limit=1' }), { status: 200, body: [{ email: first.email }] }, 'another page')

  await changes('one is renewed', () => relay.ready(bob))
  await changes('one is withdrawn', () => relay.withdraw(bob))
  await changes('one comes', () => relay.ready(bob))
  await changes('one has another certificate', async () => {
    const next = await createPeer('next')
    await relay.certificate(carol, next)
    await relay.own(next)
  })
  await sql`update broadcasts set expires_at = now() + interval '3 s'
    where client_id = (select id from clients where email = ${bob.email})`
  await changes('one expires', () => pause(3000))
  t.match((await list()).body, { length: 1 })

  const other = connect(database, { max: 1 })
  t.teardown(() => other.end())
  await sql.begin(async (first) => {
    await first`select pg_current_xact_id()`
    await changes('what began later is committed earlier', () => other`delete from broadcasts`)
  })
})

t.test('a tag is never newer than its list', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  await relay.ready(await registerPeer(relay, 'bob'))
  // Everyone goes offline between the tag and the list.
  await sql.begin(async (transaction) => {
    await transaction`lock table clients in access exclusive mode`
    const reply = relay.list(alice)
    await transaction`delete from broadcasts`
    await transaction`commit`
    const { headers, body } = await reply
    const { status } = await relay.call('/broadcast/list', {
      as: alice,
      headers: { 'if-none-match': String(headers.etag) }
    })
    t.ok(status === 200 || body.length === 0)
  })
})

t.test('a whole list of many pages', async (t) => {
  const { url, sql } = await createDatabase(t)
  const network = await startFaultyNetwork(t, url)
  const api = start(t, 'src/processes/api.ts', { env: { DATABASE_URL: network.url, PORT: '0', INTERNAL_PORT: '0' } })
  t.teardown(() => {
    api.child.kill('SIGTERM')
    return api.ended
  })
  await api.printed('Server listening')
  const origin = String(/listening at (http:[^"]+)/.exec(api.output())?.[1])
  const relay = client(`${origin}/api/relay`)
  const alice = await registerPeer(relay, 'alice')
  await addPeers(sql, COUNT, { padding: PADDING })
  const open = () => get(`${origin}/api/relay/broadcast/list`, alice)

  const isQuiet = () =>
    eventually(
      () => sql`select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
        and state <> 'idle' and backend_type = 'client backend'`,
      (rows) => rows.length === 0
    )

  const idle = await open()
  await isQuiet()
  const began = Date.now()

  t.test('is complete', async (t) => {
    const { headers, body } = await relay.list(alice)
    t.equal(headers['transfer-encoding'], 'chunked')
    const emails = body.map(({ email }: { email: string }) => email)
    const online = await sql`select email from clients join broadcasts on client_id = clients.id order by client_id`
    t.same(
      emails,
      online.map(({ email }) => email)
    )
    t.same(body.at(-1), (await relay.lookup(alice, emails.at(-1))).body)
  })

  t.test('holds no connection to the database for a slow reader, and may take longer than a deadline', async (t) => {
    const response = await open()
    await pause(3000)
    t.same(await isQuiet(), [])
    await sql`update broadcasts set expires_at = now() + interval '1 s', last_announced_at = now()
      where client_id in (select client_id from broadcasts order by client_id desc limit 10)`
    await pause(1000)
    const list = JSON.parse((await response.setEncoding('utf8').toArray()).join(''))
    t.equal(list.length, COUNT - 10, 'the last pages are read only when needed')
  })

  t.test('is no failure if the reader hangs up', async () => {
    const response = await open()
    response.destroy()
    await api.printed('"msg":"request broken off"')
  })

  t.test('breaks off if the database is lost meanwhile', async (t) => {
    const response = await open()
    await network.set('refuse')
    await t.rejects(response.toArray(), { code: 'ECONNRESET' })
    await api.printed('response terminated with an error with headers already sent')
    t.match(await relay.list(alice), { status: 503 })
    await network.set('pass')
    const isBack = ({ status }: Reply) => status === 200
    t.equal((await eventually(() => relay.list(alice), isBack)).body.length, COUNT - 10)
  })

  t.test('is cut off within 20 seconds if nobody reads it', async (t) => {
    await pause(began + 21_000 - Date.now())
    await t.rejects(idle.toArray(), { code: 'ECONNRESET' })
  })
})

async function get(url: string, as: Peer) {
  const req = http.get(url, { agent: false, headers: edgeHeader(as) })
  const [response] = (await once(req, 'response')) as [IncomingMessage]
  return response
}
