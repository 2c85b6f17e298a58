import { createHash } from 'node:crypto'
import t from 'tap'
import { cleanUp } from '../../src/workers/expiry-cleanup.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { linkIn, MAIL_SETTINGS, startMailer, startMailServer, startVerifying } from '../support/mail.ts'
import { createPeer, type Peer } from '../support/peers.ts'

const UNVERIFIED = { status: 403, body: { code: 'email_unverified' } }
const UNKNOWN = { status: 401, body: { code: 'certificate_unknown' } }

t.test('a registration is pending until the link in its e-mail is confirmed', async (t) => {
  const { relay, server, open, confirm, verify, sql } = await startVerifying(t)
  const [alice, bob] = [await createPeer('alice'), await createPeer('bob')]
  await verify(bob)
  const registered = await relay.register({ ...alice, email: 'Alice@Example.COM' })
  t.match(registered, { status: 200, body: { client_id: /^[0-9a-f-]{36}$/, email_verification: 'pending' } })
  for (const call of [relay.ready, relay.own, relay.withdraw, relay.list, relay.certificate, relay.keepCertificate]) {
    t.match(await call(alice), UNVERIFIED)
  }
  t.match(await relay.lookup(alice, bob.email), UNVERIFIED)
  t.match(await relay.call('/broadcast/events', { as: alice }), UNVERIFIED)
  t.same(await sql`select from clients where email = ${alice.email}`, [], 'it reserves nothing')

  const link = linkIn(await server.next())
  const page = await open(link)
  t.match(page, {
    status: 200,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'content-security-policy': /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'; frame-anc/
    }
  })
  t.match(page.body, alice.email)
  t.match(page.body, alice.fingerprint)
  t.notMatch(page.body, '<script')
  t.match(await relay.ready(alice), UNVERIFIED, 'opening the link changes nothing')

  const confirmed = await confirm(link)
  t.match(confirmed, {
    status: 200,
    headers: { 'content-type': /html/ },
    body: /alice@example\.com<\/strong> is yours/
  })
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.lookup(bob, alice.email), { status: 200, body: { fingerprint: alice.fingerprint } })
  t.match(await relay.register(alice, { as: alice }), { status: 409, body: { code: 'already_registered' } })

  for (const used of [await open(link), await confirm(link)]) {
    t.match(used, { status: 404, headers: { 'content-type': /html/ }, body: /no longer works/ })
  }
})

t.test('a registration needs no confirmation without SMTP_URL', async (t) => {
  const { relay } = await startApi(t)
  const { body } = await relay.register(await createPeer())
  t.same(Object.keys(body), ['client_id'])
  t.match(await relay.call('/email/verify?token=a'), { status: 404, body: { code: 'not_found' } })
})

t.test('whoever verifies an address has it, and takes it back by e-mail', async (t) => {
  const { relay, server, confirm, verify, sql } = await startVerifying(t)
  const [alice, mallory] = [await createPeer('alice'), { ...(await createPeer('mallory')), email: 'alice@example.com' }]
  t.match(await relay.register(mallory, { as: mallory }), { status: 200 })
  const malicious = linkIn(await server.next())
  await verify(alice)
  await relay.ready(alice)
  t.match(await confirm(malicious), { status: 404 }, 'other links for the address are invalid')

  const next = await createPeer('next')
  t.match(await relay.certificate(alice, next), { status: 200 })
  const renewed = { ...(await createPeer('renewed')), email: alice.email }
  const { status, body } = await relay.register(renewed)
  t.equal(status, 200, 'the answer does not reveal that the address is taken')
  await server.next()
  t.match(await relay.own(alice), { status: 200 }, 'the existing registration goes on')
  await verify(renewed)
  t.match(await sql`select id from clients`, [{ id: body.client_id }])
  for (const lost of [alice, next])
    t.match(await relay.ready(lost), UNKNOWN, 'neither the old certificate nor its next')
  t.match(await relay.own(renewed), { status: 404, body: { code: 'not_online' } })
  t.match(await relay.ready(renewed), { status: 200 })
})

t.test('a pending registration with a lost key does not count for the new one', async (t) => {
  const { relay, server, confirm, verify, sql } = await startVerifying(t)
  const alice = await createPeer('alice')
  const renewed = { ...(await createPeer('renewed')), email: alice.email }
  await verify(alice)
  await relay.register(renewed, { as: renewed })
  const link = linkIn(await server.next())
  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in exclusive mode`
    const confirmed = confirm(link)
    await lockedOut(sql)
    const late = relay.ready(alice)
    await lockedOut(sql, 2)
    await transaction`commit`
    t.match(await confirmed, { status: 200 })
    t.match(await late, UNKNOWN)
  })
  t.match(await relay.own(renewed), { status: 404, body: { code: 'not_online' } })
})

t.test('a certificate belongs to the first who proves it and verifies an address', async (t) => {
  const { relay, server, confirm, verify, sql } = await startVerifying(t)
  const [alice, carol] = [await createPeer('alice'), await createPeer('carol')]
  const claim = { ...alice, email: 'mallory@example.com' }
  t.match(await relay.register(claim), { status: 200 }, 'a mere claim on a certificate')
  t.match(await confirm(linkIn(await server.next())), { status: 200 })
  t.match(await relay.register(alice), { status: 409, body: { code: 'certificate_taken' } })
  await verify(alice)
  t.match(await relay.own(alice), { status: 404 })
  t.same(await sql`select email, proven_at is not null as "isProven" from clients`, [
    { email: alice.email, isProven: true }
  ])
  t.match(await relay.register(claim, { as: alice }), { status: 409, body: { code: 'certificate_taken' } })

  // Of two addresses for one certificate, the first to be verified gets it.
  t.match(await relay.register(carol, { as: carol }), { status: 200 })
  t.match(await relay.register({ ...carol, email: 'other@example.com' }, { as: carol }), { status: 200 })
  const links = [linkIn(await server.next()), linkIn(await server.next())] as [string, string]
  t.match(await confirm(links[0]), { status: 200 })
  t.match(await confirm(links[1]), { status: 409, headers: { 'content-type': /html/ }, body: /another e-mail address/ })
})

t.test('a client that was registered before addresses were verified can confirm its address', async (t) => {
  const { relay, verify, sql, database, server } = await startVerifying(t)
  const before = await startApi(t, { database })
  const alice = await createPeer('alice')
  const { body } = await before.relay.register(alice, { as: alice })
  t.match(await relay.ready(alice), { status: 200 }, 'goes on')
  const pending = await relay.register(alice, { as: alice })
  t.match(pending, { body: { ...body, email_verification: 'pending' } }, 'it is the same client')
  await server.next()
  await verify(alice)
  t.same(
    await sql`select email_verified_at is not null as "isVerified", proven_at is not null as "isProven" from clients`,
    [{ isVerified: true, isProven: true }]
  )
  t.match(await relay.own(alice), { status: 200, body: ANNOUNCEMENT })
})

t.test('links used at once confirm at most once each, and leave one client', async (t) => {
  const { relay, server, confirm, sql } = await startVerifying(t)
  const alice = await createPeer('alice')
  const renewed = { ...(await createPeer('renewed')), email: alice.email }
  for (const peer of [alice, renewed]) await relay.register(peer)
  const links = [linkIn(await server.next()), linkIn(await server.next())] as [string, string]
  const answers = await Promise.all(
    [...Array(5).fill(links[0]), ...Array(5).fill(links[1])].map((link) => confirm(link))
  )
  const confirmed = answers.filter(({ status }) => status === 200).length
  t.ok(confirmed === 1 || confirmed === 2, 'each at most once')
  t.equal(answers.filter(({ status }) => status === 404).length, 10 - confirmed)
  t.same(await sql`select count(*)::int from clients`, [{ count: 1 }])
})

t.test('two links for one address at once do not wait for each other', async (t) => {
  const { relay, server, confirm, sql } = await startVerifying(t)
  const alice = await createPeer('alice')
  const renewed = { ...(await createPeer('renewed')), email: alice.email }
  for (const peer of [alice, renewed]) await relay.register(peer)
  const links = [linkIn(await server.next()), linkIn(await server.next())]
  let answers: ReturnType<typeof confirm>[] = []
  await sql.begin(async (other) => {
    await other`
      insert into clients (email, certificate, not_before, not_after)
      values (${alice.email}, 'other', now(), now() + interval '1 hour')`
    answers = links.map((link) => confirm(link))
    await lockedOut(sql, 2)
    await other`delete from clients`
  })
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  t.same(statuses.sort(), [200, 404])
})

t.test('a peer with a pending registration can leave', async (t) => {
  const { relay, server, confirm } = await startVerifying(t)
  const alice = await createPeer('alice')
  await relay.register(alice)
  const link = linkIn(await server.next())
  t.match(await relay.unregister(alice), { status: 204 })
  t.match(await relay.ready(alice), UNKNOWN)
  t.match(await relay.unregister(alice), UNKNOWN)
  t.match(await confirm(link), { status: 404 })
})

t.test('a pending registration ends after 24 hours, and the worker deletes it', async (t) => {
  const { relay, server, open, confirm, sql, fastify } = await startVerifying(t)
  const alice = await createPeer('alice')
  await relay.register(alice)
  const link = linkIn(await server.next())
  const [row] = await sql`select extract(epoch from expires_at - now()) / 3600 as hours from pending_registrations`
  t.ok(Number(row?.hours) > 23.9 && Number(row?.hours) <= 24)
  await sql`update pending_registrations set expires_at = now()`
  for (const late of [await open(link), await confirm(link)]) t.match(late, { status: 404 })
  t.match(await relay.ready(alice), UNKNOWN)
  await sql`update mail_counts set began_at = began_at - interval '1 hour'`
  await sql`insert into mail_counts (subject, began_at) select n, now() - interval '1 hour' from generate_series(1, 2500) n`
  await cleanUp(fastify.repository, fastify.log)
  t.same(await sql`select from pending_registrations`, [])
  t.same(await sql`select from mail_counts`, [])
})

t.test('the token of a link is random, kept as a hash, and invalid after a newer e-mail', async (t) => {
  const { relay, server, open, confirm, sql } = await startVerifying(t)
  const alice = await createPeer('alice')
  const links = []
  for (let n = 0; n < 2; n++) {
    await relay.register(alice)
    links.push(linkIn(await server.next()))
    const token = Buffer.from(String(links[n]?.split('token=')[1]), 'base64url')
    t.equal(token.length * 8, 256)
    const [row] = await sql`select token_hash, to_jsonb(r)::text as text from pending_registrations r`
    t.same(row?.token_hash, createHash('sha256').update(token.toString('base64url')).digest())
    for (const encoding of ['base64url', 'base64', 'hex'] as const)
      t.notOk(row?.text.includes(token.toString(encoding)))
  }
  const [first, second] = links as [string, string]
  t.not(first, second)
  for (const answer of [await open(first), await confirm(first)]) t.match(answer, { status: 404 })
  t.match(await confirm(second), { status: 200 })
})

t.test(
  'a pending registration ends no later than its certificate, so that no expired one takes an address over',
  async (t) => {
    const { relay, sql } = await startVerifying(t)
    await relay.register(await createPeer('alice', { days: 1.5 }))
    t.match(await sql`select expires_at = not_after as "isSame" from pending_registrations`, [{ isSame: true }])
  }
)

t.test('e-mails are limited per recipient and per sender', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database, env: MAIL_SETTINGS })
  const register = (email: string, peer: Peer, from: string) =>
    relay.register({ ...peer, email }, { headers: { 'x-forwarded-for': from } })
  const due = async (email: string) => {
    const [{ mails }] = await sql<[{ mails: number }]>`
      select count(mail_due_at)::int as mails from pending_registrations where email = ${email}`
    return mails
  }
  const peer = await createPeer()
  const REFUSED = { status: 429, headers: { 'retry-after': '3600' }, body: { code: 'too_many_mails' } }
  const answers = []
  for (let n = 1; n <= 6; n++) {
    answers.push((await register('a@example.com', peer, `192.0.2.${n}`)).body)
    t.equal(await due('a@example.com'), n <= 5 ? 1 : 0, `of ${n} that are asked for from anywhere, 5 are sent`)
    await sql`update pending_registrations set mail_due_at = null, mail_tries = 1`
  }
  t.same(new Set(answers.map((body) => JSON.stringify(body))).size, 1, 'and the answer is the same')
  await register('a@example.com', peer, '192.0.2.7')
  t.match(await sql`select mail_tries from pending_registrations`, [{ mail_tries: 1 }], 'the last link stays as it is')
  for (let n = 1; n <= 9; n++) {
    t.match(await register(`b${n}@example.com`, peer, `2001:db8:0:0:${n}::1`), { status: 200 }, 'a network of 64 bits')
  }
  t.match(await register('b@example.com', peer, '2001:db8::1'), { status: 200 })
  t.match(await register('b@example.com', peer, '2001:db8::2'), REFUSED, 'to anyone')
  t.match(await register('b@example.com', peer, '2001:db8:0:1::1'), { status: 200 })
  for (let n = 1; n <= 10; n++) t.match(await register(`e${n}@example.com`, peer, 'fe80::1'), { status: 200 })
  t.match(await register('e@example.com', peer, 'fe80::1'), REFUSED)
  t.match(await register('e@example.com', peer, 'fe80::2'), { status: 200 }, 'a link-local address by itself')
  const [b] = await sql`select count from mail_counts where subject = 'to b@example.com'`
  t.equal(b?.count, 2, 'a refused sender uses up none of the recipient’s mails')
  t.match(await register('c@example.com', peer, 'unknown'), { status: 200 })
  await sql`update mail_counts set began_at = began_at - interval '1 hour'`
  await register('a@example.com', peer, '192.0.2.1')
  t.equal(await due('a@example.com'), 1, 'an hour later')
  const peers = await Promise.all(Array.from({ length: 8 }, () => createPeer()))
  const all = await Promise.all(peers.map((one, n) => register('d@example.com', one, `198.51.100.${n}`)))
  t.same(new Set(all.map(({ status }) => status)), new Set([200]))
  t.equal(await due('d@example.com'), 5, 'even at once')
})

t.test('REGISTRATION_PROOF=required applies to a pending registration', async (t) => {
  const { relay } = await startVerifying(t, { REGISTRATION_PROOF: 'required' })
  const alice = await createPeer('alice')
  t.match(await relay.register(alice), { status: 403, body: { code: 'proof_required' } })
  t.match(await relay.register(alice, { as: alice }), { status: 200 })
})

t.test('a wrong link or form is explained on a page', async (t) => {
  const { origin, open, confirm, sql } = await startVerifying(t)
  const path = '/api/relay/email/verify'
  const post = (body: unknown, headers = {}) => send(origin + path, { body, headers })
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  for (const [answer, status] of [
    [await open(path), 400],
    [await open(`${path}?token=${'a'.repeat(101)}`), 400],
    [await open(`${path}?token=a&token=b`), 400],
    [await open(`${path}?token=a`), 404],
    [await open(`${path}?token=`), 404],
    [await post('', form), 400],
    [await post('token=a&token=b', form), 404],
    [await post({ token: 'a' }), 415],
    [await post('a'.repeat(1025), form), 413]
  ] as const) {
    t.match(answer, { status, headers: { 'content-type': 'text/html; charset=utf-8' }, body: /^<!doctype html>/ })
  }
  t.match(await send(origin + path, { method: 'PUT' }), { status: 405, headers: { allow: 'GET, HEAD, POST' } })
  await sql`drop table pending_registrations`
  t.match(await confirm(`${path}?token=a`), { status: 500, body: /went wrong on our side/ })
})

t.test('the log has neither the link nor what it is about', async (t) => {
  const { url: database } = await createDatabase(t)
  const server = await startMailServer(t)
  const { log } = await startMailer(t, database, server.env)
  const { relay } = await startApi(t, { database, env: server.env })
  const alice = await createPeer('alice')
  await relay.register(alice)
  const token = linkIn(await server.next()).split('=')[1] as string
  await eventually(
    async () => log.length,
    (length) => length > 0
  )
  t.match(log, [{ level: 30, msg: 'mail sent', registration: String }])
  for (const secret of [token, alice.email, alice.fingerprint]) t.notMatch(JSON.stringify(log), secret)
})
