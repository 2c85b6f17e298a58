import t from 'tap'
import { parseCertificate } from '../../src/identity/certificate.ts'
import { startApi } from '../support/api.ts'
import { readShape } from '../support/certificate-shapes.ts'
import { createDatabase } from '../support/database.ts'
import { fixture } from '../support/fixtures.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

t.test('a peer registers once', async (t) => {
  const { relay } = await startApi(t)
  const alice = await createPeer()
  const first = await relay.register(alice)
  t.match(first, { status: 200, body: { client_id: /^[0-9a-f-]{36}$/ } })
  t.same(Object.keys(first.body), ['client_id'])

  const again = await relay.register(alice)
  t.match(again, { status: 409, body: { error: String, code: 'already_registered' } })
  const shouted = await relay.register({ ...alice, email: 'ALICE@Example.COM' })
  t.match(shouted, { status: 409, body: { code: 'already_registered' } }, 'case makes no difference')
  const relaid = await relay.register({ ...alice, certificate: alice.certificate.replaceAll('\n', '\r\n') })
  t.match(relaid, { status: 409, body: { code: 'already_registered' } }, 'nor does the layout of the PEM')
})

t.test('an e-mail address and a certificate belong to one client each', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')
  const mallory = await createPeer('mallory')
  t.match(await relay.register({ ...mallory, email: alice.email }), { status: 409, body: { code: 'email_taken' } })
  t.match(await relay.register({ ...alice, email: mallory.email }), {
    status: 409,
    body: { code: 'certificate_taken' }
  })
  t.match(
    await relay.register({ ...alice, email: bob.email }),
    { status: 409, body: { code: 'email_taken' } },
    'both taken'
  )
  t.match(await relay.ready(mallory), { status: 401 }, 'mallory is not registered')
})

t.test('bad input is refused and registers nobody', async (t) => {
  const { relay } = await startApi(t)
  const { certificate, privateKey } = await createPeer()
  const email = 'alice@example.com'
  const bodies: [unknown, string][] = [
    [{}, 'invalid_email'],
    [{ email }, 'invalid_certificate'],
    [{ certificate }, 'invalid_email'],
    [{ email: null, certificate }, 'invalid_email'],
    [{ email: [email], certificate }, 'invalid_email'],
    [{ email: 'alice', certificate }, 'invalid_email'],
    [{ email: 'alice@', certificate }, 'invalid_email'],
    [{ email: '@example.com', certificate }, 'invalid_email'],
    [{ email: 'alice@example.com\n', certificate }, 'invalid_email'],
    [{ email: ' alice@example.com', certificate }, 'invalid_email'],
    [{ email: 'alice@exam\u0000ple.com', certificate }, 'invalid_email'],
    [{ email: `${'a'.repeat(65)}@example.com`, certificate }, 'invalid_email'],
    [{ email: `a@${`${'b'.repeat(60)}.`.repeat(5)}com`, certificate }, 'invalid_email'],
    [{ email, certificate: 1 }, 'invalid_certificate'],
    [{ email, certificate: null }, 'invalid_certificate'],
    [{ email, certificate: '' }, 'invalid_certificate'],
    [{ email, certificate: certificate + certificate }, 'multiple_certificates'],
    [{ email, certificate: fixture('request.csr') }, 'certificate_request_sent'],
    [{ email, certificate: fixture('rsa-2048-sha1.crt') }, 'weak_signature'],
    [{ email, certificate: readShape('openssl/large').certificate }, 'certificate_too_large'],
    [{ email, certificate: privateKey }, 'private_key_sent'],
    [{ email, certificate: fixture('rsa-1024.crt') }, 'weak_key'],
    [{ email, certificate, admin: true }, 'invalid_request'],
    [[], 'invalid_request'],
    ['null', 'invalid_request'],
    ['"text"', 'invalid_request'],
    ['{"email":', 'bad_request'],
    ['', 'bad_request'],
    [`{"__proto__":{"email":"${email}"},"certificate":"x"}`, 'bad_request'],
    [Buffer.from([0x7b, 0xff, 0x7d]), 'bad_request']
  ]
  for (const [body, code] of bodies) {
    const reply = await relay.call('/register', { body })
    t.match(reply, { status: 400, body: { error: String, code } }, JSON.stringify(body).slice(0, 100))
    t.same(Object.keys(reply.body), ['error', 'code'])
  }
  for (const [notBefore, code] of [
    [new Date(Date.now() - 2 * 86_400_000), 'certificate_expired'],
    [new Date(Date.now() + 86_400_000), 'certificate_not_yet_valid']
  ] as const) {
    const peer = await createPeer('bob', { notBefore, days: 1 })
    t.match(await relay.register(peer), { status: 400, body: { code } })
  }
  t.match(await relay.register({ email, certificate }), { status: 200 }, 'the good certificate is still free')
})

t.test('the longest address and certificates of every strong kind are registered', async (t) => {
  const { relay } = await startApi(t)
  const label = 'b'.repeat(61)
  const email = `${'a'.repeat(64)}@${label}.${label}.${label}.com`.slice(0, 254)
  t.equal(email.length, 254)
  const { certificate } = await createPeer()
  t.match(await relay.register({ email, certificate }), { status: 200 })
  for (const kind of ['rsa-2048', 'rsa-4096', 'rsa-pss-2048', 'p-384', 'p-521', 'ed25519', 'ed448']) {
    t.match(
      await relay.register({ email: `${kind}@example.com`, certificate: fixture(`${kind}.crt`) }),
      { status: 200 },
      kind
    )
  }
})

t.test('one of 200 identical registrations at once succeeds', async (t) => {
  const { fastify, relay } = await startApi(t)
  const [alice, bob] = [await createPeer('alice'), await createPeer('bob')]
  const { clients } = fastify.repository
  // So many calls would time out, so the repository is asked directly.
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => clients.register(alice.email, parseCertificate(alice.certificate), false))
  )
  t.equal(answers.filter((answer) => 'id' in answer).length, 1)
  t.match(
    answers.filter((answer) => !('id' in answer)),
    Array(199).fill({ conflict: 'already_registered' })
  )

  const replies = await Promise.all(Array.from({ length: 40 }, () => relay.register(bob)))
  const count = (status: number, code?: string) =>
    replies.filter((reply) => reply.status === status && reply.body.code === code).length
  t.equal(count(200), 1)
  t.equal(count(409, 'already_registered'), 39)
})

t.test('the holder of the key wins', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await createPeer('alice')
  const mallory = await registerPeer(relay, 'mallory')
  const claim = { email: 'claimant@example.com', certificate: alice.certificate }
  const provenAt = async (email: string) =>
    (await sql`select proven_at from clients where email = ${email}`)[0]?.proven_at

  t.test('a registration presenting another certificate is a mere claim', async (t) => {
    const claimed = await relay.register(claim, { as: mallory })
    t.match(claimed, { status: 200 })
    t.equal(await provenAt(claim.email), null)

    const proven = await relay.register(alice, { as: alice })
    t.match(proven, { status: 200 }, 'it is displaced by one with proof')
    t.ok(await provenAt(alice.email))
    t.match(await sql`select from clients where email = ${claim.email}`, { count: 0 })
    t.match(await relay.ready(alice), { status: 200 })
    t.match(await relay.lookup(mallory, alice.email), { status: 200, body: { fingerprint: alice.fingerprint } })
  })

  t.test('a proven registration is not displaced, with or without proof', async (t) => {
    t.match(await relay.register(claim), { status: 409, body: { code: 'certificate_taken' } })
    t.match(await relay.register(claim, { as: alice }), { status: 409, body: { code: 'certificate_taken' } })
    t.match(await relay.register(alice, { as: alice }), { status: 409, body: { code: 'already_registered' } })
  })

  t.test("proof of a certificate gets nobody another's e-mail address", async (t) => {
    const bob = await createPeer('bob')
    await relay.register({ ...bob, email: 'claimant@example.com' })
    const reply = await relay.register({ ...bob, email: alice.email }, { as: bob })
    t.match(reply, { status: 409, body: { code: 'email_taken' } })
    t.equal(await provenAt('claimant@example.com'), null, 'it changes nothing')
  })

  t.test('a call is no consent to the address that a stranger claimed', async (t) => {
    const carol = await createPeer('carol')
    await relay.register({ ...carol, email: 'stranger@example.com' })
    t.match(await relay.ready(carol), { status: 200 })
    t.match(await relay.register(carol, { as: carol }), { status: 200 }, 'the holder still gets it, even when online')
    t.match(await relay.lookup(mallory, 'stranger@example.com'), { status: 404 })
    t.match(await relay.lookup(mallory, carol.email), { status: 200 })
  })

  t.test('the same registration again with proof records the proof', async (t) => {
    const dora = await registerPeer(relay, 'dora')
    t.equal(await provenAt(dora.email), null)
    t.match(await relay.register(dora, { as: dora }), { status: 409, body: { code: 'already_registered' } })
    t.ok(await provenAt(dora.email))
  })

  t.test('a registration may leave out the certificate of its handshake', async (t) => {
    const erin = await createPeer('erin')
    t.match(await relay.call('/register', { body: { email: erin.email }, as: erin }), { status: 200 })
    t.match(await relay.list(erin), { status: 200 })
    t.match(await relay.call('/register', { body: { email: 'frank@example.com' } }), {
      status: 400,
      body: { code: 'invalid_certificate' }
    })
  })

  t.test('a claim that is being changed is not displaced meanwhile', async (t) => {
    const heidi = await createPeer('heidi')
    await relay.register({ ...heidi, email: 'other@example.com' })
    await sql.begin(async (transaction) => {
      await transaction`select from clients where fingerprint = ${heidi.fingerprint} for update`
      t.match(await relay.register(heidi, { as: heidi }), { status: 503 })
    })
    t.match(await relay.register(heidi, { as: heidi }), { status: 200 })
  })

  t.test('the holder of the key wins a race of 20 with proof and 20 without', async (t) => {
    const grace = await createPeer('grace')
    const claims = Array.from({ length: 20 }, (_, n) => relay.register({ ...grace, email: `claim-${n}@example.com` }))
    const proofs = Array.from({ length: 20 }, () => relay.register(grace, { as: grace }))
    const statuses = (await Promise.all(proofs)).map(({ status }) => status)
    await Promise.all(claims)
    t.equal(statuses.filter((status) => status === 200).length, 1)
    t.same(new Set(statuses), new Set([200, 409]))
    t.match(await sql`select email from clients where fingerprint = ${grace.fingerprint}`, [{ email: grace.email }])
  })
})

t.test('REGISTRATION_PROOF=required refuses a registration without proof', async (t) => {
  const { relay } = await startApi(t, { env: { REGISTRATION_PROOF: 'required' } })
  const alice = await createPeer('alice')
  const mallory = await createPeer('mallory')
  const refused = { status: 403, body: { error: String, code: 'proof_required' } }
  t.match(await relay.register(alice), refused)
  t.match(await relay.register(alice, { as: mallory }), refused)
  t.match(await relay.register(alice, { as: alice }), { status: 200 })
})

t.test('a peer that leaves is gone with all its data, and what it had is free again', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  await relay.ready(alice)
  await relay.ready(bob)
  t.match(await relay.unregister(alice), { status: 204, body: '' })
  t.match(await relay.lookup(bob, alice.email), { status: 404 })
  t.match(await relay.ready(alice), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await relay.unregister(alice), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await relay.unregister(undefined), { status: 401, body: { code: 'certificate_required' } })
  t.same(await sql`select email from clients join broadcasts on client_id = clients.id`, [{ email: bob.email }])
  t.match(await relay.register({ ...alice, email: 'other@example.com' }), { status: 200 }, 'the certificate')
  t.match(
    await relay.register({ ...alice, certificate: (await createPeer()).certificate }),
    { status: 200 },
    'the address'
  )
})

t.test('an e-mail address is free again when its certificate has expired', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await createPeer('alice')
  const [next, other] = [
    { ...(await createPeer()), email: alice.email },
    { ...(await createPeer()), email: alice.email }
  ]
  t.match(await relay.register(alice, { as: alice }), { status: 200 })
  await relay.ready(alice)
  t.match(await relay.register(next), { status: 409, body: { code: 'email_taken' } })
  await sql`update clients set not_before = now() - interval '2 s', not_after = now()`
  const answers = await Promise.all([relay.register(next), relay.register(other)])
  t.same(answers.map(({ status }) => status).sort(), [200, 409])
  t.match(await relay.ready(alice), { status: 401, body: { code: 'certificate_unknown' } })
  t.same(await sql`select from broadcasts`, [])
})
