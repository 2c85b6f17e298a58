import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { type Reply, send } from '../support/http-client.ts'
import { linkIn, MAIL_SETTINGS, startVerifying } from '../support/mail.ts'
import { createPeer, type Peer } from '../support/peers.ts'

/** Everything in an answer from which a caller could draw conclusions. */
function shapeOf({ status, headers, body }: Reply) {
  const { date: _, 'x-request-id': __, ...others } = headers
  const { client_id, ...rest } = body
  return { status, headers: others, body: rest, hasId: typeof client_id === 'string' }
}

t.test('with verified e-mail, no answer reveals whether an address is registered', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const before = await startApi(t, { database })
  const { relay, fastify } = await startApi(t, { database, env: MAIL_SETTINGS })
  const clients = {
    verified: await createPeer('verified'),
    'registered before addresses were verified': await createPeer('before'),
    revoked: await createPeer('revoked'),
    expired: await createPeer('expired')
  }
  for (const peer of Object.values(clients)) t.match(await before.relay.register(peer), { status: 200 })
  await sql`update clients set email_verified_at = now(), proven_at = now() where email <> 'before@example.com'`
  await sql`update clients set revoked_at = now() where email = 'revoked@example.com'`
  await sql`update clients set not_before = now() - interval '2 days', not_after = now() - interval '1 day' where email = 'expired@example.com'`
  const pending = await createPeer('pending')
  t.match(await relay.register(pending, { as: pending }), { status: 200 })
  const flooded = await createPeer('flooded')
  for (let n = 0; n < 6; n++) {
    t.match(await relay.register(flooded, { headers: { 'x-forwarded-for': `203.0.113.${n}` } }), { status: 200 })
  }
  const owners = { nobody: undefined, ...clients, pending, flooded }

  let callers = 0
  /** The answers that a stranger with a certificate gets who registers an address, and asks everything else. */
  async function ask(email: string, isProven: boolean) {
    const stranger = await createPeer('stranger')
    const options = { ...(isProven && { as: stranger }), headers: { 'x-forwarded-for': `198.51.100.${callers++}` } }
    const shapes = []
    for (const call of [
      () => relay.register({ ...stranger, email }, options),
      () => relay.register({ ...stranger, email }, options),
      () => relay.lookup(stranger, email),
      () => relay.certificate(stranger),
      () => relay.ready(stranger)
    ]) {
      const counted = await statements(fastify)
      const answer = await call()
      shapes.push({ ...shapeOf(answer), statements: (await statements(fastify)) - counted })
    }
    return shapes
  }

  for (const isProven of [false, true]) {
    const [free, ...others] = Object.entries(owners)
    const expected = await ask('nobody@example.com', isProven)
    t.match(expected[0], { status: 200, body: { email_verification: 'pending' } }, String(free))
    for (const [state, owner] of others) {
      t.same(await ask(String(owner?.email), isProven), expected, `${state}, ${isProven ? 'with' : 'without'} proof`)
    }
  }
})

t.test('with verified e-mail, answers about a registered certificate do not depend on the address', async (t) => {
  const { relay, sql, verify } = await startVerifying(t)
  const [alice, claimed, before] = [await createPeer('alice'), await createPeer('claimed'), await createPeer('before')]
  await verify(alice)
  await verify(claimed, undefined)
  await verify(before)
  await sql`update clients set email_verified_at = null where email = 'before@example.com'`
  const answers = (peer: Peer, as?: Peer) =>
    Promise.all(
      [peer.email, 'other@example.com', alice.email].map(async (email) =>
        shapeOf(await relay.register({ ...peer, email }, as && { as }))
      )
    )
  const stranger = await createPeer('stranger')
  for (const peer of [alice, claimed, before]) {
    for (const as of [undefined, stranger]) {
      const [own, ...others] = await answers(peer, as)
      t.match(own, { status: 409, body: { code: 'certificate_taken' } }, peer.email)
      t.same(others, [own, own])
    }
  }
  await sql`update clients set revoked_at = now() where email = 'claimed@example.com'`
  const [own, ...others] = await answers(claimed)
  t.match(own, { status: 403, body: { code: 'certificate_revoked' } })
  t.same(others, [own, own])

  t.match(await answers(alice, alice), [
    { body: { code: 'already_registered' } },
    { body: { code: 'certificate_taken' } },
    { body: { code: 'already_registered' } }
  ])
})

t.test('with verified e-mail, a caller’s own registration does not reveal that an address was confirmed', async (t) => {
  const { relay, server, origin, verify, sql } = await startVerifying(t)
  const [alice, mallory] = [await createPeer('alice'), { ...(await createPeer('mallory')), email: 'alice@example.com' }]
  const first = await relay.register(mallory, { as: mallory })
  const link = linkIn(await server.next())
  const states = async () =>
    Promise.all([relay.ready(mallory), relay.lookup(mallory, alice.email), relay.certificate(mallory)])
  const before = (await states()).map(shapeOf)
  await verify(alice)
  t.match(await send(origin + link), { status: 404 }, 'the link no longer works')
  t.same((await states()).map(shapeOf), before)
  t.same((await relay.register(mallory, { as: mallory })).body, first.body, 'he may go on asking')
  t.ok(linkIn(await server.next()))
  await sql`update pending_registrations set expires_at = now()`
  t.match(await relay.ready(mallory), { status: 401, body: { code: 'certificate_unknown' } }, 'until it ends')
})

/** The number of statements that the API has run. */
async function statements({ metrics }: FastifyInstance): Promise<number> {
  const text = await metrics.getSingleMetricAsString('relay_database_query_duration_seconds')
  return Number(/_count (\d+)$/m.exec(text)?.[1] ?? 0)
}
