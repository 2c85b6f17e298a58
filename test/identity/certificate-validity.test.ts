import t from 'tap'
import { startApi } from '../support/api.ts'
import { readShape, type Shape } from '../support/certificate-shapes.ts'
import { createDatabase } from '../support/database.ts'
import { headerOf } from '../support/edge-headers.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

const MINUTE = 60_000
const DAY = 86_400_000

/** A peer whose certificate becomes valid in that many milliseconds. */
const beginningIn = (milliseconds: number, name = 'peer') =>
  createPeer(name, { notBefore: new Date(Date.now() + milliseconds) })

t.test("a peer's clock may be five minutes ahead", async (t) => {
  const { relay } = await startApi(t)
  const peer = await beginningIn(4 * MINUTE)
  t.match(await relay.register(peer), { status: 200 })
  t.match(await relay.ready(peer), { status: 200 }, 'a registered certificate can be used')
  t.match(await relay.list(peer), { status: 200 })
  t.match(await relay.lookup(peer, peer.email), { status: 200 })

  const early = await beginningIn(6 * MINUTE, 'early')
  t.match(await relay.register(early), {
    status: 400,
    body: { error: /five minutes/, code: 'certificate_not_yet_valid' }
  })
  const expired = await createPeer('expired', { notBefore: new Date(Date.now() - 2 * DAY), days: 1 })
  t.match(await relay.register(expired), { status: 400, body: { code: 'certificate_expired' } })
  t.match(await relay.register({ ...expired, email: peer.email }), { body: { code: 'certificate_expired' } })
})

t.test('the clock of a peer may be ahead for its next certificate too', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay, 'alice')
  t.match(await relay.certificate(alice, await beginningIn(6 * MINUTE)), {
    status: 400,
    body: { code: 'certificate_not_yet_valid' }
  })
  const old = await createPeer('old', { notBefore: new Date(Date.now() - 2 * DAY), days: 1 })
  t.match(await relay.certificate(alice, old), { status: 400, body: { code: 'certificate_expired' } })
  t.match(await relay.certificate(alice), { body: { pending: null } })
  const next = await beginningIn(4 * MINUTE)
  t.match(await relay.certificate(alice, next), { body: { pending: { fingerprint: next.fingerprint } } })
  t.match(await relay.certificate(next), { status: 200, body: { fingerprint: next.fingerprint, pending: null } })
})

t.test('the holder of the key can leave with a certificate that is not valid', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const [expired, early, revoked] = [
    await registerPeer(relay, 'expired'),
    await registerPeer(relay, 'early'),
    await registerPeer(relay, 'revoked')
  ]
  await sql`update clients set not_before = now() - interval '2 days', not_after = now() - interval '1 day' where email = ${expired.email}`
  await sql`update clients set not_before = now() + interval '1 day' where email = ${early.email}`
  await sql`update clients set revoked_at = now() where email = ${revoked.email}`
  t.match(await relay.unregister(expired), { status: 204 })
  t.match(await relay.unregister(early), { status: 204 })
  t.match(await relay.unregister(revoked), { status: 401, body: { code: 'certificate_revoked' } }, 'unless revoked')
  t.same(await sql`select email from clients`, [{ email: revoked.email }])
})

t.test('a certificate may be valid from the year 1 to the end of 9999', async (t) => {
  const { relay } = await startApi(t)
  const peer = readShape('odd/time-year-1')
  t.match(await relay.register(peer), { status: 200 })
  t.match(await relay.certificate(peer), {
    status: 200,
    body: { not_before: '0001-01-01T00:00:00.000Z', not_after: '9999-12-31T23:59:59.000Z' }
  })
})

t.test('a certificate has the same size limit however it arrives', async (t) => {
  const { relay } = await startApi(t, { env: { CLIENT_CERT_FORMAT: 'der-base64' } })
  const alice = await registerPeer(relay, 'alice')
  const [large, largest] = [readShape('openssl/large'), readShape('openssl/largest')]
  const present = (peer: Shape) => ({ headers: headerOf('der-base64', peer), body: { email: peer.email } })
  const refused = { status: 400, body: { code: 'certificate_too_large' } }
  t.match(await relay.register(large), refused, 'in the body')
  t.match(await relay.call('/register', present(large)), refused, 'in the handshake')
  const next = { headers: headerOf('der-base64', alice), body: { certificate: large.certificate } }
  t.match(await relay.call('/certificate', next), refused, 'as the next one')
  t.match(await relay.call('/register', present(largest)), { status: 200 })
  t.match(await relay.call('/broadcast/list', { headers: headerOf('der-base64', largest) }), { status: 200 })
})

t.test('a certificate that an edge may refuse needs proof', async (t) => {
  const { relay } = await startApi(t, { env: { CLIENT_CERT_FORMAT: 'der-base64' } })
  const [usual, unusual, other] = ['ec-p-256', 'unknown-critical', 'ed448'].map((name) =>
    readShape(`openssl/${name}`)
  ) as [Shape, Shape, Shape]
  const header = (peer: Shape) => headerOf('der-base64', peer)
  const refused = { status: 403, body: { error: /handshake/, code: 'proof_required' } }
  t.match(await relay.register(unusual), refused)
  t.match(await relay.register(unusual, { headers: header(usual) }), refused, 'presenting another one is no proof')
  t.match(await relay.register(other), { status: 200 }, 'an accepted one needs no proof')
  t.match(await relay.register(usual), { status: 200 })
  const next = (from: Shape, to: Shape) =>
    relay.call('/certificate', { headers: header(from), body: { certificate: to.certificate } })
  t.match(await next(usual, unusual), refused, 'it cannot be the next one either')
  t.match(
    await relay.register(unusual, { headers: header(unusual) }),
    { status: 200 },
    'a peer that gets through can come back'
  )
  t.match(await next(unusual, readShape('go/libp2p')), { status: 200 }, 'and rotate')
})
