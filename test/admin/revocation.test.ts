import t from 'tap'
import { createAdministration } from '../../src/admin/admin.repository.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { lockedOut } from '../support/database.ts'
import { send } from '../support/http-client.ts'
import { linkIn, startMailer, startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { watchAs } from '../support/watch.ts'
import { auditIn, startAdmin } from './helper.ts'

const REVOKED = { status: 401, body: { error: String, code: 'certificate_revoked' } }
const REFUSED = { status: 403, body: { error: String, code: 'certificate_revoked' } }

t.test('a revoked client is refused by every API from its next request on, until it is restored', async (t) => {
  const { url: database, admin, json } = await startAdmin(t)
  const [one, two] = [await startApi(t, { database }), await startApi(t, { database })]
  const [alice, bob] = [await registerPeer(one.relay, 'alice'), await registerPeer(one.relay, 'bob')]
  await one.relay.ready(alice)
  await one.relay.ready(bob)
  const before = await two.relay.list(bob)
  const [own, watcher] = [await watchAs(t, two.origin, alice), await watchAs(t, two.origin, bob)]
  t.match(await own.next(), { name: 'list', data: [{ email: bob.email }] })
  t.match(await watcher.next(), { name: 'list', data: [{ email: alice.email }] })

  const revoked = await admin(['clients', 'revoke', alice.email, '--reason', 'lost "laptop"'])
  t.match(revoked, { code: 0, stdout: 'alice@example.com is revoked\n' })
  t.match(auditIn(revoked.stderr), [
    { audit: true, event: 'revoke', clientId: String, fingerprint: alice.fingerprint, reason: 'lost "laptop"' }
  ])
  for (const { relay } of [one, two]) {
    for (const call of [relay.ready, relay.own, relay.withdraw, relay.unregister, relay.list, relay.certificate]) {
      t.match(await call(alice), REVOKED)
    }
    t.match(await relay.lookup(alice, bob.email), REVOKED)
    t.match(await relay.call(`/broadcast/lookup?fingerprint=${bob.fingerprint}`, { as: alice }), REVOKED)
    t.match(await relay.call('/broadcast/events', { as: alice }), REVOKED)
    t.match(await relay.lookup(bob, alice.email), { status: 404, body: { code: 'peer_not_found' } })
    t.match(await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: bob }), { status: 404 })
    t.same((await relay.list(bob)).body, [])
  }
  await own.ended
  t.same(await watcher.next(), { name: 'offline', data: { email: alice.email } })
  const { etag } = before.headers
  const again = await two.relay.call('/broadcast/list', { as: bob, headers: { 'if-none-match': etag } })
  t.match(again, { status: 200 }, 'no list of before holds')

  t.same(await admin(['clients', 'revoke', alice.email]), {
    code: 0,
    stdout: 'alice@example.com was already revoked\n',
    stderr: ''
  })
  t.match(await json('clients', 'show', alice.email), [
    { state: 'revoked', revocation_reason: 'lost "laptop"', online_until: null }
  ])

  const restored = await admin(['clients', 'restore', alice.email])
  t.match(restored, { code: 0, stdout: 'alice@example.com is restored\n' })
  t.match(auditIn(restored.stderr), [{ audit: true, event: 'restore', fingerprint: alice.fingerprint }])
  t.match(await watcher.next(), { name: 'online', data: { email: alice.email } })
  for (const { relay } of [one, two]) {
    t.match(await relay.own(alice), { status: 200, body: ANNOUNCEMENT }, 'also what it had announced')
    t.match(await relay.lookup(bob, alice.email), { status: 200 })
  }
  t.match(await json('clients', 'restore', alice.email), [{ email: alice.email, changed: false }])
})

t.test('the certificate and the e-mail address of a revoked client stay blocked', async (t) => {
  const { url: database, sql } = await startAdmin(t)
  const { relay } = await startApi(t, { database })
  const alice = await createPeer('alice')
  await relay.register({ ...alice, email: 'claim@example.com' })
  const administration = createAdministration(sql)
  const [client] = await sql`select id from clients`
  t.equal(await administration.revoke(client?.id, null), true)

  t.match(await relay.register({ ...alice, email: 'claim@example.com' }), REFUSED, 'the same again')
  t.match(await relay.register(alice), REFUSED, 'with another e-mail address')
  t.match(await relay.register(alice, { as: alice }), REFUSED, 'with proof, which displaces any other claim')
  const other = { ...(await createPeer()), email: 'claim@example.com' }
  const TAKEN = { status: 409, body: { code: 'email_taken' } }
  t.match(await relay.register(other), TAKEN, 'with another certificate')
  await sql`update clients set not_before = now() - interval '2 s', not_after = now()`
  t.match(await relay.register(other, { as: other }), TAKEN, 'also when the certificate has expired')
  t.match(await relay.ready(alice), REVOKED)
  const bob = await registerPeer(relay, 'bob')
  t.match(await relay.certificate(bob, alice), { status: 409, body: { code: 'certificate_taken' } }, 'as a next one')

  await administration.delete(client?.id)
  t.match(await relay.register(other), { status: 200 }, 'until it is deleted')
  t.match(await relay.register(alice), { status: 200 })
})

t.test('a pending certificate of a revoked client does not take over', async (t) => {
  const { url: database, sql } = await startAdmin(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  const next = await createPeer('next')
  await relay.certificate(alice, next)
  const administration = createAdministration(sql)
  const [client] = await sql`select id from clients`
  await administration.revoke(client?.id, null)
  t.match(await relay.ready(next), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await relay.ready(alice), REVOKED)
  await administration.restore(client?.id)
  t.match(await relay.ready(next), { status: 200 }, 'until that is undone')
  await administration.revoke(client?.id, null)
  t.match(await relay.ready(next), REVOKED, 'nor does it undo that')
})

t.test('a request in flight while its client is revoked does not escape that', async (t) => {
  const { url: database, patient, sql } = await startAdmin(t)
  const { relay } = await startApi(t, { database: patient })
  const alice = await registerPeer(relay, 'alice')
  const [bob, next] = [await registerPeer(relay, 'bob'), await createPeer('next')]
  await relay.ready(alice)
  await relay.certificate(alice, next)
  const client = connect(database, { max: 1, statementTimeout: 0 })
  t.teardown(() => client.end())
  await client.begin(async (transaction) => {
    await transaction`update clients set revoked_at = now() where email = ${alice.email}`
    const calls = [relay.ready(next), relay.unregister(alice)]
    await lockedOut(sql, 2)
    await transaction`commit`
    t.match(await calls[0], { status: 401, body: { code: 'certificate_unknown' } }, 'does not take over')
    await calls[1]
  })
  t.match(
    await sql`select revoked_at from clients where email = ${alice.email}`,
    [{ revoked_at: Date }],
    'nor does it leave'
  )
  t.match(await relay.lookup(bob, alice.email), { status: 404 })
})

t.test('verified e-mail takes nothing over from a revoked client', async (t) => {
  const { url: database, sql } = await startAdmin(t)
  const server = await startMailServer(t)
  await startMailer(t, database, server.env)
  const { relay, origin } = await startApi(t, { database, env: server.env })
  const confirm = (link: string) =>
    send(`${origin}/api/relay/email/verify`, {
      body: link.split('?')[1],
      headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })
  const administration = createAdministration(sql)
  const alice = await createPeer('alice')
  await relay.register(alice, { as: alice })
  t.match(await confirm(linkIn(await server.next())), { status: 200 })
  await relay.register({ ...alice, email: 'other@example.com' }, { as: alice })
  const [client] = await sql`select id from clients`

  // The same pair, asked for before.
  await sql`update clients set email_verified_at = null`
  await relay.register(alice, { as: alice })
  const same = linkIn(await server.next())
  await administration.revoke(client?.id, null)

  t.match(await relay.register(alice, { as: alice }), REFUSED)
  t.match(await relay.register({ ...alice, email: 'b@example.com' }, { as: alice }), REFUSED)
  t.match(await relay.ready(alice), REVOKED, 'and is not asked to confirm anything')
  const refusals = [await confirm(same)]
  const other = { ...(await createPeer()), email: alice.email }
  t.match(await relay.register(other, { as: other }), { status: 200 }, 'nothing tells whose address it is')
  refusals.push(await confirm(linkIn(await server.next())))
  for (const refusal of refusals) {
    t.match(refusal, {
      status: 409,
      headers: { 'content-type': /html/ },
      body: /The certificate with this e-mail address was revoked/
    })
  }
  t.match(await sql`select id, fingerprint, revoked_at, email_verified_at from clients`, [
    { id: client?.id, fingerprint: alice.fingerprint, revoked_at: Date, email_verified_at: null }
  ])
  t.match(await relay.ready(other), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await relay.ready(alice), REVOKED)
})
