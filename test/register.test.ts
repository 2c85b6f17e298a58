import t from 'tap'
import { createPeer, fixture, registerPeer, startApi } from './helper.ts'

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

t.test('bad input is refused, and nobody is registered', async (t) => {
  const { relay, fastify } = await startApi(t)
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
    [{ email, certificate: certificate + certificate }, 'invalid_certificate'],
    [{ email, certificate: certificate + ' '.repeat(8192) }, 'invalid_certificate'],
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
  t.match(
    await fastify.repository.register(email, (await import('../src/certificate.ts')).parseCertificate(certificate)),
    {
      id: String
    }
  )
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

t.test('the same registration 200 times at once: one is made', async (t) => {
  const { relay } = await startApi(t)
  const alice = await createPeer()
  const replies = await Promise.all(Array.from({ length: 200 }, () => relay.register(alice)))
  const count = (status: number, code?: string) =>
    replies.filter((reply) => reply.status === status && reply.body.code === code).length
  t.equal(count(200), 1)
  t.equal(count(409, 'already_registered'), 199)
})
