import https from 'node:https'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { ANNOUNCEMENT, type client, startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { startEdge } from '../support/edge.ts'
import { send } from '../support/http-client.ts'
import { startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

type Relay = ReturnType<typeof client>

const JSON_TYPE = { 'content-type': 'application/json' }
const SEND_JSON = { error: 'send the body as application/json, uncompressed', code: 'unsupported_media_type' }

async function startTlsApi(t: Test) {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['127.0.0.1'] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  return startApi(t, { env: { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') } })
}

t.test('bodies behind an edge that the test plays', async (t) => {
  const { relay } = await startApi(t)
  await judgeBodies(t, relay)
})

t.test('bodies over direct TLS', async (t) => {
  const { relay, origin } = await startTlsApi(t)
  const alice = await judgeBodies(t, relay)

  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, cert: alice.certificate, key: alice.privateKey })
  t.teardown(() => agent.destroy())
  const url = `${origin}/api/relay/broadcast/ready`
  const headers = { 'content-type': 'text/plain', 'content-length': 500_000 }
  const large = { method: 'DELETE', body: 'x'.repeat(500_000), headers }
  t.match(await send(url, { agent, ...large }), { status: 204 }, 'the body of a DELETE is ignored')
  t.match(
    await send(url, { agent }),
    { status: 404, body: { code: 'not_online' } },
    'and the next call on the connection works'
  )
})

t.test('bodies through nginx', { skip: skipWithoutContainers }, async (t) => {
  const { relay } = await startEdge(t)
  await judgeBodies(t, relay)
})

t.test('a page that expects a form says so', async (t) => {
  const { env } = await startMailServer(t)
  const { relay } = await startApi(t, { env })
  const body = 'token=a'
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  t.match(await relay.call('/email/verify', { body, headers: form }), { status: 404 })
  for (const headers of [JSON_TYPE, { ...form, 'content-encoding': 'gzip' }]) {
    const reply = await relay.call('/email/verify', { body, headers })
    t.match(reply, { status: 415, body: 'Send the body as application/x-www-form-urlencoded, uncompressed.' })
  }
})

/** What all kinds of clients send where there is no body, and instead of JSON. */
async function judgeBodies(t: Test, relay: Relay) {
  const alice = await registerPeer(relay)
  const as = alice
  t.match(await relay.ready(alice), { status: 200 })
  for (const headers of [
    ...[JSON_TYPE, { ...JSON_TYPE, 'content-length': 0 }, { ...JSON_TYPE, 'transfer-encoding': 'chunked' }],
    ...[
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'json' },
      { 'content-encoding': 'gzip' }
    ]
  ]) {
    const what = JSON.stringify(headers)
    for (const path of ['/broadcast/ready', '/certificate', '/broadcast/list']) {
      t.match(await relay.call(path, { as, method: 'GET', headers }), { status: 200 }, `GET ${path} ${what}`)
    }
    t.match(await relay.call('/certificate', { as, method: 'DELETE', headers }), { status: 204 }, `DELETE ${what}`)
    t.match(await relay.call('/nothing', { as, method: 'DELETE', headers }), { status: 404 }, `DELETE /nothing ${what}`)
  }
  t.match(await relay.call('/broadcast/ready', { as, method: 'DELETE', headers: JSON_TYPE }), { status: 204 })
  t.match(await relay.own(alice), { status: 404, body: { code: 'not_online' } })

  for (const path of ['/register', '/broadcast/ready', '/certificate']) {
    const empty = await relay.call(path, { as, method: 'POST', headers: JSON_TYPE })
    t.match(empty, { status: 400, body: { code: 'bad_request' } }, `POST ${path} without a body is refused`)
  }

  const { certificate, email } = await createPeer('bob')
  const text = JSON.stringify({ email, certificate })
  const register = (body: string | Buffer, headers: Record<string, string>) =>
    relay.call('/register', { body, headers: { ...JSON_TYPE, ...headers } })
  for (const coding of ['gzip', 'GZIP', 'br', 'deflate', 'zstd', 'gzip, identity']) {
    const reply = await register(gzipSync(text), { 'content-encoding': coding })
    t.match(reply, { status: 415, headers: { 'accept-encoding': 'identity' }, body: SEND_JSON }, coding)
  }
  const compressed = { as, body: gzipSync(JSON.stringify(ANNOUNCEMENT)), headers: { 'content-encoding': 'gzip' } }
  t.match(await relay.call('/broadcast/ready', compressed), { status: 415, body: SEND_JSON })
  for (const type of ['text/plain', 'text/xml', 'application/x-www-form-urlencoded', 'json', '']) {
    const reply = await register(text, { 'content-type': type })
    t.match(reply, { status: 415, headers: { 'accept-encoding': undefined }, body: SEND_JSON }, type)
  }
  t.match(await register(gzipSync(text), {}), { status: 400, body: { code: 'bad_request' } }, 'gzip labelled as JSON')
  t.match(await register(text, { 'content-encoding': 'Identity' }), { status: 200 })
  const again = { status: 409, body: { code: 'already_registered' } }
  t.match(await register(text, { 'content-encoding': '' }), again)
  t.match(await register(text, { 'content-type': 'Application/JSON; charset=utf-8' }), again)
  return alice
}
