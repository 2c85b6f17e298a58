import { execFileSync } from 'node:child_process'
import { verify, X509Certificate } from 'node:crypto'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fingerprintOf } from '../../src/identity/certificate.ts'
import { isRotationSigned } from '../../src/identity/rotation-signature.ts'
import { migrate } from '../../src/postgres/migrations.ts'
import { startApi } from '../support/api.ts'
import { readShape } from '../support/certificate-shapes.ts'
import { createDatabase } from '../support/database.ts'
import { blocksOf } from '../support/docs.ts'
import { linkIn, startVerifying } from '../support/mail.ts'
import { createPeer, type Peer, registerPeer, signRotation } from '../support/peers.ts'
import { watchAs } from '../support/watch.ts'

type Relay = Awaited<ReturnType<typeof startApi>>['relay']
interface Link {
  certificate: string
  signature: string
}

/** Rotates, and returns the next peer. */
async function rotate(t: Test, relay: Relay, current: Peer, signature?: (next: Peer) => string): Promise<Peer> {
  const next = { ...(await createPeer('next')), email: current.email }
  t.match(await relay.certificate(current, next, signature?.(next)), { status: 200 })
  t.match(await relay.ready(next), { status: 200 }, 'it took over')
  return next
}

const rotateSigned = (t: Test, relay: Relay, current: Peer) =>
  rotate(t, relay, current, (next) => signRotation(current, next))

/** What somebody does who knows an earlier certificate: returns where the links lead from there. */
function follow(known: string, links: Link[]): string {
  const reached = links.reduce((from, { certificate, signature }) => {
    const data = Buffer.concat([Buffer.from('relay-tracker rotation v1\n'), new X509Certificate(certificate).raw])
    const isNext = verify('sha256', data, new X509Certificate(from).publicKey, Buffer.from(signature, 'base64url'))
    return isNext ? certificate : from
  }, known)
  return fingerprintOf(new X509Certificate(reached).raw)
}

t.test('whoever knew a peer can follow its signed rotations to its present certificate', async (t) => {
  const { relay, origin } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const next = await rotateSigned(t, relay, alice)
  const last = await rotateSigned(t, relay, next)
  const byEmail = await relay.lookup(bob, alice.email)
  t.match(byEmail.body, { fingerprint: last.fingerprint, rotations: [{ certificate: next.certificate }, {}] })
  t.equal(byEmail.body.rotations[1].certificate, last.certificate, 'as PEM')
  for (const known of [alice, next]) t.equal(follow(known.certificate, byEmail.body.rotations), last.fingerprint)
  t.equal(follow(bob.certificate, byEmail.body.rotations), bob.fingerprint, 'nobody else gets there')

  const byFingerprint = await relay.call(`/broadcast/lookup?fingerprint=${last.fingerprint}`, { as: bob })
  t.same(byFingerprint.body, byEmail.body)
  t.same((await relay.own(last)).body, byEmail.body)
  const [listed] = (await relay.list(bob)).body
  const { rotations: _, ...rest } = byEmail.body
  t.same(listed, rest, 'the list is without')
  const stream = await watchAs(t, origin, bob)
  t.same((await stream.next()).data, [rest], 'and so are events')
  await relay.ready(last, { port: 1, addresses: ['10.0.0.1'], capabilities: {} })
  t.notOk('rotations' in (await stream.next()).data)
})

t.test('each kind of key can sign a rotation', async (t) => {
  const { relay } = await startApi(t)
  const bob = await registerPeer(relay, 'bob')
  for (const name of [
    ...['openssl/ec-p-256', 'openssl/ec-p-384', 'openssl/ec-p-521', 'openssl/rsa-2048', 'openssl/rsa-8192'],
    ...['openssl/rsa-pss', 'openssl/ed25519', 'openssl/ed448']
  ]) {
    await t.test(name, async (t) => {
      const shape = readShape(name)
      t.match(await relay.register(shape, { as: shape }), { status: 200 })
      const next = await rotateSigned(t, relay, shape)
      const { body } = await relay.lookup(bob, shape.email)
      t.same(body.rotations.length, 1)
      const [{ certificate, signature }] = body.rotations
      t.equal(certificate, next.certificate)
      const der = (pem: string) => new X509Certificate(pem).raw
      t.ok(isRotationSigned(der(shape.certificate), der(certificate), Buffer.from(signature, 'base64url')))
    })
  }
})

t.test('docs/PEERS.md names a command that signs a rotation', async (t) => {
  const { relay } = await startApi(t)
  const bob = await registerPeer(relay, 'bob')
  const cwd = t.testdir({ certs: { 'bob.key': bob.privateKey, 'bob.crt': bob.certificate } })
  const [command] = blocksOf('docs/PEERS.md', 'Rotation')
  const signature = execFileSync('bash', ['-c', String(command?.text)], { cwd, encoding: 'utf8', stdio: 'pipe' })
  const certificate = readFileSync(join(cwd, 'certs/bob-2.crt'), 'utf8')
  t.match(await relay.certificate(bob, { certificate }, signature), { status: 200 })
})

t.test('a key that signs with another hash alone cannot sign a rotation', async (t) => {
  const cwd = t.testdir({})
  const key =
    'rsa-pss -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha512 -pkeyopt rsa_pss_keygen_mgf1_md:sha512'
  const command = `openssl req -x509 -newkey ${key} -nodes -keyout key.pem -out cert.pem -subj /CN=pss`
  execFileSync('sh', ['-c', command], { cwd, stdio: 'pipe' })
  const { raw } = new X509Certificate(readFileSync(join(cwd, 'cert.pem')))
  t.equal(isRotationSigned(raw, raw, Buffer.alloc(256)), false)
})

t.test('only the key of the certificate that the caller presents signs a rotation', async (t) => {
  const { relay } = await startApi(t)
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const next = await createPeer('next')
  const wrong = {
    'by another key': signRotation(bob, next),
    'by the next key': signRotation(next, next),
    'over another certificate': signRotation(alice, bob),
    empty: '',
    'no base64url': `${signRotation(alice, next)}=`,
    'no signature': 'AAAA',
    'too long': 'A'.repeat(1367)
  }
  for (const [what, signature] of Object.entries(wrong)) {
    t.match(await relay.certificate(alice, next, signature), { status: 400, body: { code: 'invalid_signature' } }, what)
  }
  t.match(await relay.certificate(alice), { body: { pending: null } }, 'nothing is stored')
})

t.test('the last eight signed rotations are kept', async (t) => {
  const { relay } = await startApi(t)
  const chain: Peer[] = [await registerPeer(relay, 'alice')]
  for (let n = 0; n < 9; n++) chain.push(await rotateSigned(t, relay, chain[n] as Peer))
  const [alice, first] = chain as [Peer, Peer]
  const last = chain[9] as Peer
  const { rotations } = (await relay.own(last)).body
  t.same(
    rotations.map(({ certificate }: Link) => certificate),
    chain.slice(2).map(({ certificate }) => certificate)
  )
  t.equal(follow(first.certificate, rotations), last.fingerprint)
  t.not(follow(alice.certificate, rotations), last.fingerprint, 'who was away for longer has to ask')
})

t.test('fewer signed rotations are kept if their certificates are large', async (t) => {
  const { relay } = await startApi(t)
  let current: Peer = await registerPeer(relay, 'alice')
  const kept = []
  for (let n = 0; n < 4; n++) {
    const hosts = Array.from({ length: 150 }, (_, host) => `host-${n}-${host}.example.com`)
    const next = { ...(await createPeer('large', { hosts })), email: current.email }
    t.match(await relay.certificate(current, next, signRotation(current, next)), { status: 200 })
    await relay.ready(next)
    const { body } = await relay.own(next)
    t.equal(follow(current.certificate, body.rotations), next.fingerprint)
    t.ok(JSON.stringify(body.rotations).length <= 16 * 1024)
    kept.push(body.rotations.length)
    current = next
  }
  t.same(kept, [1, 2, 2, 2])
})

t.test('a certificate that the old key did not choose ends the links', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const isEmpty = async (peer: Peer, what: string) => {
    t.match(await relay.ready(peer), { status: 200 })
    t.notOk('rotations' in (await relay.own(peer)).body, what)
  }
  const signed = async (name: string) => {
    const peer = await rotateSigned(t, relay, await registerPeer(relay, name))
    t.equal((await relay.own(peer)).body.rotations.length, 1)
    return peer
  }

  await isEmpty(await rotate(t, relay, await signed('unsigned')), 'a rotation without signature')
  const [replaced, other] = [await signed('replaced'), await createPeer('other')]
  await relay.certificate(replaced, other, signRotation(replaced, other))
  await relay.certificate(replaced, other)
  await isEmpty(other, 'a signature that was taken back')

  const left = await signed('left')
  await relay.unregister(left)
  await relay.register(left)
  await isEmpty(left, 'another registration')

  const expired = await signed('expired')
  await sql`update clients set not_before = now() - interval '2 days', not_after = now() where email = ${expired.email}`
  const heir = { ...(await createPeer('heir')), email: expired.email }
  t.match(await relay.register(heir), { status: 200 })
  await isEmpty(heir, 'the registration of an address whose certificate has expired')

  const [mallory, carol] = [await registerPeer(relay, 'mallory'), await createPeer('carol')]
  await relay.certificate(mallory, carol, signRotation(mallory, carol))
  t.match(await relay.ready(carol), { status: 200 }, 'carol called before she registered')
  t.equal((await relay.own(carol)).body.rotations.length, 1)
  t.match(await relay.register(carol, { as: carol }), { status: 200 })
  await isEmpty(carol, "the holder's registration of a certificate that a stranger's rotation led to")
})

t.test('an e-mail address that is confirmed with another certificate has no links', async (t) => {
  const { relay, verify, server, confirm } = await startVerifying(t)
  const alice = await createPeer('alice')
  await verify(alice)
  await rotateSigned(t, relay, alice)
  const fresh = { ...(await createPeer('fresh')), email: alice.email }
  await relay.register(fresh, { as: fresh })
  t.match(await confirm(linkIn(await server.next())), { status: 200 })
  t.match(await relay.ready(fresh), { status: 200 })
  t.notOk('rotations' in (await relay.own(fresh)).body)
})

t.test('a signature is only for the certificate that was the valid one then', async (t) => {
  const { url: database } = await createDatabase(t)
  const { relay, fastify } = await startApi(t, { database })
  const { rotations } = fastify.repository
  const [alice, next] = [await registerPeer(relay, 'alice'), await createPeer('next')]
  await relay.certificate(alice, next)
  const parsed = { ...(await createPeer('last')), der: Buffer.from('a'), commonName: null }
  await relay.ready(next)
  const late = { ...parsed, keyType: 'ec', notBefore: new Date(), notAfter: new Date(Date.now() + 60_000) }
  const certificate = { ...late, hasUnhandledExtension: false, hasInvalidPrintableString: false }
  t.equal(await rotations.propose(alice.fingerprint, certificate, Buffer.from('s')), 'certificate_taken')
  t.match(await relay.certificate(next), { body: { pending: null } })
})

t.test('the previous version goes on working, and its rotations end the links', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  /** The statement of the previous version. */
  const proposeUnsigned = async (email: string, next: Peer) => {
    const { raw } = new X509Certificate(next.certificate)
    await sql`
      insert into pending_certificates (client_id, certificate, common_name, not_before, not_after)
      select id, ${raw}::bytea, null, now() - interval '1 day', now() + interval '1 day' from clients where email = ${email}
      on conflict (client_id) do update set
        certificate = excluded.certificate,
        common_name = excluded.common_name,
        not_before = excluded.not_before,
        not_after = excluded.not_after,
        created_at = excluded.created_at`
  }
  const alice = await rotateSigned(t, relay, await registerPeer(relay, 'alice'))
  const [next, other, last] = [await createPeer('next'), await createPeer('other'), await createPeer('last')]
  await relay.certificate(alice, next, signRotation(alice, next))
  await proposeUnsigned(alice.email, other)
  t.match(await relay.ready(other), { status: 200 })
  t.notOk('rotations' in (await relay.own(other)).body, 'the signature was for another certificate')
  await relay.certificate(other, last, signRotation(other, last))
  await relay.ready(last)
  await proposeUnsigned(alice.email, next)
  t.match(await relay.ready(next), { status: 200 })
  t.notOk('rotations' in (await relay.own(next)).body, 'there was no signature')
})

t.test('clients and pending certificates from before the migration have no links', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  const before = t.testdir({ 'rights.sql': 'select' })
  for (const file of readdirSync('sql').filter((file) => file < '016')) {
    cpSync(join('sql', file), join(before, file))
  }
  await migrate(url, before)
  const [alice, next] = [await createPeer('alice'), await createPeer('next')]
  const raw = ({ certificate }: Peer) => new X509Certificate(certificate).raw
  await sql`
    with client as (
      insert into clients (email, certificate, not_before, not_after)
      values (${alice.email}, ${raw(alice)}, now() - interval '1 day', now() + interval '1 day') returning id
    )
    insert into pending_certificates (client_id, certificate, not_before, not_after)
    select id, ${raw(next)}, now() - interval '1 day', now() + interval '1 day' from client`
  await migrate(url)
  const { relay } = await startApi(t, { database: url })
  t.match(await relay.ready(next), { status: 200 })
  t.notOk('rotations' in (await relay.own(next)).body)
  const last = await rotateSigned(t, relay, next)
  t.equal((await relay.own(last)).body.rotations.length, 1)
})
