import https from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { createPeer, edgeHeader, registerPeer } from '../support/peers.ts'

async function startTlsApi(t: Test) {
  const { certificate, privateKey } = await createSelfSigned({
    commonName: 'localhost',
    hosts: ['localhost', '127.0.0.1']
  })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const { url: database, sql } = await createDatabase(t)
  const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
  return { ...(await startApi(t, { database, env })), sql, authority: certificate }
}

t.test('peers with their own RSA and P-256 certificates are served', async (t) => {
  const { relay } = await startTlsApi(t)
  const alice = await registerPeer(relay, 'alice')
  const bob = await createPeer('bob', { keyType: 'rsa-2048' })
  t.match(await relay.register(bob), { status: 200 })
  t.match(await relay.ready(bob), { status: 200 })
  t.match(await relay.lookup(alice, bob.email), { status: 200, body: { fingerprint: bob.fingerprint } })
  t.match(await relay.list(alice), { status: 200, body: [{ email: bob.email }] })
  t.match(await relay.list(await createPeer('mallory')), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await relay.list(undefined), { status: 401, body: { code: 'certificate_required' } })
})

t.test('clients verify the server', async (t) => {
  const { origin, authority: ca } = await startTlsApi(t)
  const verified = { agent: new https.Agent({ ca }), rejectUnauthorized: true }
  t.match(await send(`${origin}/`, verified), { status: 404 })
  await t.rejects(send(`${origin}/`, { rejectUnauthorized: true } as object), {
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT'
  })
})

t.test('headers do not decide who calls, or from where', async (t) => {
  const { relay } = await startTlsApi(t)
  const alice = await registerPeer(relay, 'alice')
  const mallory = await registerPeer(relay, 'mallory')
  const forged = { ...edgeHeader(alice), 'x-forwarded-for': '203.0.113.9', 'x-request-id': 'forged' }
  t.match(await relay.call('/broadcast/list', { headers: forged }), {
    status: 401,
    headers: { 'x-request-id': /^[0-9a-f-]{36}$/ },
    body: { code: 'certificate_required' }
  })
  const body = { port: 1, addresses: ['0.0.0.0', '192.168.1.20'] }
  t.match(await relay.call('/broadcast/ready', { as: mallory, headers: forged, body }), { status: 200 })
  t.match(await relay.lookup(alice, alice.email), { status: 404 }, 'the forged announcement was not made for Alice')
  t.match(await relay.lookup(alice, mallory.email), {
    body: { addresses: ['192.168.1.20'], observed_address: '127.0.0.1' }
  })
})

t.test('a certificate that expires between two requests on one connection is refused', async (t) => {
  const { relay, origin, sql } = await startTlsApi(t)
  const alice = await registerPeer(relay)
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, cert: alice.certificate, key: alice.privateKey })
  t.teardown(() => agent.destroy())
  const list = () => send(`${origin}/api/relay/broadcast/list`, { agent })
  t.match(await list(), { status: 200 })
  await sql`update clients set not_before = now() - interval '2 days', not_after = now() - interval '1 day'`
  t.match(await list(), { status: 401, body: { code: 'certificate_expired' } })
  t.equal(Object.values(agent.freeSockets).flat().length, 1, 'on one connection')
})

t.test('a certificate that has expired is refused in a resumed session', async (t) => {
  const { relay, origin, sql } = await startTlsApi(t)
  const alice = await registerPeer(relay)
  const agent = new https.Agent({ cert: alice.certificate, key: alice.privateKey })
  const list = () => send(`${origin}/api/relay/broadcast/list`, { agent })
  t.match(await list(), { status: 200, isResumed: false })
  t.match(
    await list(),
    { status: 200, isResumed: true },
    'a resumed session has the certificate of the first handshake'
  )
  await sql`update clients set not_before = now() - interval '2 days', not_after = now() - interval '1 day'`
  t.match(await list(), { status: 401, isResumed: true })
})

t.test('a caller that does not finish the handshake is disconnected', async (t) => {
  const { port } = await startTlsApi(t)
  const silent = connect(port, '127.0.0.1')
    .on('error', () => {})
    .resume()
  await eventually(async () => silent.closed, Boolean, 100)
})

t.test('TLS 1.1 is refused', async (t) => {
  const { origin } = await startTlsApi(t)
  await t.rejects(send(`${origin}/`, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' } as object))
})
