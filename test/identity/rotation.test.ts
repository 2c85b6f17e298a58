import t from 'tap'
import { startAdmin } from '../admin/helper.ts'
import { startApi } from '../support/api.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { linkIn, MAIL_SETTINGS, startVerifying } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

const TAKEN = { status: 409, body: { error: String, code: 'certificate_taken' } }
const UNKNOWN = { status: 401, body: { code: 'certificate_unknown' } }

t.test('the next certificate takes over with the first request that presents it', async (t) => {
  const { relay } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const next = await createPeer('next')
  await relay.ready(alice)

  t.match(await relay.certificate(alice), { status: 200, body: { fingerprint: alice.fingerprint, pending: null } })
  const announced = await relay.certificate(alice, next)
  t.match(announced, {
    status: 200,
    body: {
      fingerprint: alice.fingerprint,
      pending: { fingerprint: next.fingerprint, not_before: String, not_after: String }
    }
  })
  t.same((await relay.certificate(alice)).body, announced.body)
  t.match(await relay.lookup(bob, alice.email), { body: { fingerprint: alice.fingerprint } }, 'nothing has changed yet')
  t.match(await relay.ready(alice), { status: 200 })

  t.match(await relay.lookup(next, bob.email), { status: 404 }, 'it works')
  t.match(await relay.own(next), { status: 200, body: { email: alice.email, fingerprint: next.fingerprint } })
  t.match(await relay.lookup(bob, alice.email), { body: { fingerprint: next.fingerprint } }, 'others see it')
  t.match(await relay.own(alice), UNKNOWN, 'the old one is not valid any more')
  t.match(await relay.certificate(next), { body: { fingerprint: next.fingerprint, pending: null } })
  t.match(await relay.register({ ...alice, email: 'new@example.com' }), { status: 200 }, 'it is free')
})

t.test('many first requests at once all work', async (t) => {
  const { patient: database } = await createDatabase(t)
  const { fastify, relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  const [next, last] = [await createPeer('next'), await createPeer('last')]
  await relay.certificate(alice, next)
  const replies = await Promise.all(Array.from({ length: 10 }, () => relay.ready(next)))
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))

  await relay.certificate(next, last)
  const { rotations } = fastify.repository
  // So many calls would time out, so the repository is asked directly.
  const taken = await Promise.all(Array.from({ length: 50 }, () => rotations.takeOver(last.fingerprint)))
  t.match(
    taken.filter((client) => client),
    [{ id: String, previous: next.fingerprint }]
  )
  t.match(await relay.own(last), { status: 200 })
})

t.test('a pending certificate can be replaced or withdrawn', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay, 'alice')
  const [first, second] = [await createPeer('first'), await createPeer('second')]
  await relay.certificate(alice, first)
  t.match(await relay.certificate(alice, second), { body: { pending: { fingerprint: second.fingerprint } } })
  t.match(await relay.own(first), UNKNOWN)
  t.match(await relay.keepCertificate(alice), { status: 204, body: '' })
  t.match(await relay.keepCertificate(alice), { status: 204, body: '' })
  t.match(await relay.own(second), UNKNOWN)
  t.match(await relay.certificate(alice), { body: { pending: null } })
})

t.test('a next certificate has to be valid, free and presentable', async (t) => {
  const { relay } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const next = await createPeer('next')
  t.match(await relay.certificate(alice, alice), TAKEN, 'the current one')
  t.match(await relay.certificate(alice, bob), TAKEN, "another's")
  await relay.certificate(alice, next)
  t.match(await relay.certificate(alice, { certificate: next.privateKey }), {
    status: 400,
    body: { code: 'private_key_sent' }
  })
  t.match(await relay.call('/certificate', { as: alice, body: {} }), {
    status: 400,
    body: { code: 'invalid_certificate' }
  })
  const old = await createPeer('old', { notBefore: new Date('2020-01-01'), days: 10 })
  t.match(await relay.certificate(alice, old), { status: 400, body: { code: 'certificate_expired' } })
  t.match(await relay.certificate(alice), { body: { pending: { fingerprint: next.fingerprint } } }, 'it stays')
  for (const call of [relay.certificate, relay.keepCertificate]) t.match(await call(undefined), { status: 401 })
})

t.test('a certificate that expired while pending does not take over', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay, 'alice')
  const next = await createPeer('next')
  await relay.certificate(alice, next)
  await sql`update pending_certificates set not_before = now() - interval '2 s', not_after = now()`
  t.match(await relay.own(next), UNKNOWN)
  t.match(await relay.certificate(alice), { status: 200 })
})

t.test('a stranger who announces your certificate as his next one gains nothing', async (t) => {
  const { relay } = await startApi(t)
  const mallory = await registerPeer(relay, 'mallory')
  const [bob, carol] = [await createPeer('bob'), await createPeer('carol')]
  await relay.certificate(mallory, bob)
  t.match(await relay.register(bob), { status: 200 }, 'it is not reserved')
  t.match(await relay.ready(bob), { status: 200 })
  t.match(await relay.own(bob), { body: { email: bob.email } })

  await relay.certificate(mallory, carol)
  t.match(await relay.ready(carol), { status: 200 }, 'carol called before she registered')
  t.match(await relay.register(carol, { as: carol }), { status: 200 }, 'but she gets her own address')
  t.match(await relay.own(carol), { body: { email: carol.email } })
})

t.test('the holder may announce, register or be given a certificate that somebody else announced', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const verifying = (await startApi(t, { database, env: MAIL_SETTINGS })).relay
  const { admin } = await startAdmin(t, database)
  const mallory = await registerPeer(relay, 'mallory')
  const strange = async (name: string) => {
    const peer = await createPeer(name)
    t.match(await relay.certificate(mallory, peer), { status: 200 })
    return peer
  }

  for (const isProven of [false, true]) {
    const bob = await strange(`bob-${isProven}`)
    t.match(await relay.register(bob, isProven ? { as: bob } : {}), { status: 200 })
    t.match(await relay.own(bob), { status: 404, body: { code: 'not_online' } })
    const carol = await strange(`carol-${isProven}`)
    t.match(await verifying.register(carol, isProven ? { as: carol } : {}), { status: 200 })
  }

  const dora = await strange('dora')
  const line = JSON.stringify({ email: dora.email, certificate: dora.certificate })
  t.match(await admin(['import'], { input: line }), { code: 0 })
  t.match(await relay.ready(dora), { status: 200 })

  const [alice, next] = [await registerPeer(relay, 'alice'), await strange('next')]
  t.match(await relay.certificate(alice, next), { status: 200, body: { pending: { fingerprint: next.fingerprint } } })
  t.match(await relay.ready(next), { status: 200 })
  t.match(await relay.own(next), { body: { email: alice.email } }, 'the last one to announce it gets it')
  t.match(await relay.own(mallory), { status: 404, body: { code: 'not_online' } }, 'the other keeps his')
  t.match(await sql`select email from clients where fingerprint = ${next.fingerprint}`, [{ email: alice.email }])
})

t.test('a caller with a pending proven registration does not become somebody else', async (t) => {
  const { relay, verify, server, confirm } = await startVerifying(t)
  const [mallory, bob] = [await createPeer('mallory'), await createPeer('bob')]
  await verify(mallory)
  t.match(await relay.certificate(mallory, bob), { status: 200 })
  t.match(await relay.register(bob, { as: bob }), { status: 200 })
  const link = linkIn(await server.next())
  t.match(await relay.ready(bob), { status: 403, body: { code: 'email_unverified' } })
  t.match(await confirm(link), { status: 200 })
  t.match(await relay.ready(bob), { status: 200 })
  t.match(await relay.own(bob), { body: { email: bob.email } })
  t.match(await relay.certificate(mallory), { status: 200, body: { fingerprint: mallory.fingerprint } })
})

t.test('a certificate that many clients announced takes over for one of them', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay, fastify } = await startApi(t, { database })
  const next = await createPeer('next')
  for (const name of ['a', 'b', 'c']) await relay.certificate(await registerPeer(relay, name), next)
  const { rotations } = fastify.repository
  const taken = await Promise.all(Array.from({ length: 5 }, () => rotations.takeOver(next.fingerprint)))
  t.equal(taken.filter((client) => client).length, 1)
  t.match(await sql`select email from clients where fingerprint = ${next.fingerprint}`, [{ email: 'c@example.com' }])
  t.match(await sql`select count(*)::int from pending_certificates`, [{ count: 2 }], 'the others keep theirs')
})

t.test('a client that was removed meanwhile gets 401', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql`create function forget() returns trigger language plpgsql as $$ begin delete from clients; return null; end $$`
  await sql`create trigger forget after insert on pending_certificates for each row execute function forget()`
  t.match(await relay.certificate(alice, await createPeer('next')), UNKNOWN)
})

t.test('a client that is being removed meanwhile gets 401', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql.begin(async (transaction) => {
    await transaction`delete from clients`
    const reply = relay.certificate(alice, await createPeer('next'))
    await lockedOut(sql)
    await transaction`commit`
    t.match(await reply, UNKNOWN)
  })
})

t.test('a next certificate that gets registered meanwhile does not take over', async (t) => {
  const { patient: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const [alice, next] = [await registerPeer(relay, 'alice'), await createPeer('next')]
  await relay.certificate(alice, next)
  await sql.begin(async (transaction) => {
    await transaction`
      insert into clients (email, certificate, not_before, not_after)
      select 'next@example.com', certificate, not_before, not_after from pending_certificates`
    const reply = relay.ready(next)
    await lockedOut(sql)
    await transaction`commit`
    t.match(await reply, { status: 200 })
  })
  t.match(await relay.lookup(alice, 'next@example.com'), { status: 200 })
})

t.test('a statement that fails is no conflict', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const [alice, next] = [await registerPeer(relay), await createPeer('next')]
  await sql`drop table pending_certificates`
  t.match(await relay.certificate(alice, next), { status: 500, body: { code: 'internal_error' } })
  t.match(await relay.own(next), { status: 500, body: { code: 'internal_error' } })
})
