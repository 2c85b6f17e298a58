import type { OutgoingHttpHeaders } from 'node:http'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { createPeer, edgeHeader, registerPeer } from '../support/peers.ts'

t.test('the header counts only from the edge', async (t) => {
  const { url: database } = await createDatabase(t)
  const behindEdge = await startApi(t, { database })
  const exposed = await startApi(t, { database, env: { TRUSTED_PROXIES: '203.0.113.9' } })
  const alice = await registerPeer(behindEdge.relay)
  t.match(await behindEdge.relay.list(alice), { status: 200 })
  t.match(await exposed.relay.list(alice), { status: 401, body: { code: 'certificate_required' } })
  t.match(
    await exposed.relay.call('/broadcast/list', { as: alice, headers: { 'x-forwarded-for': '203.0.113.9' } }),
    { status: 401 },
    'and what the caller says of its address changes nothing'
  )
})

t.test('anything but exactly one readable header is refused with 401', async (t) => {
  const { relay } = await startApi(t)
  const { certificate } = await registerPeer(relay)
  const escaped = encodeURIComponent(certificate)
  const other = encodeURIComponent((await createPeer('mallory')).certificate)
  const headers: [OutgoingHttpHeaders, string][] = [
    [{}, 'certificate_required'],
    [{ 'x-ssl-cert': '' }, 'invalid_certificate'],
    [{ 'x-ssl-cert': '%' }, 'invalid_certificate'],
    [{ 'x-ssl-cert': '%E0%A4%A' }, 'invalid_certificate'],
    [{ 'x-ssl-cert': '(null)' }, 'invalid_certificate'],
    [{ 'x-ssl-cert': 'x'.repeat(10_000) }, 'invalid_certificate'],
    [{ 'x-ssl-cert': [escaped, escaped] }, 'invalid_certificate'],
    [{ 'x-ssl-cert': [escaped, other] }, 'invalid_certificate'],
    [{ 'x-ssl-cert': [other, escaped] }, 'invalid_certificate'],
    [{ 'x-ssl-cert': `${other}, ${escaped}` }, 'invalid_certificate'],
    [{ 'x-ssl-cert': escaped + escaped }, 'invalid_certificate'],
    [{ 'x-ssl-cert': other }, 'certificate_unknown'],
    [{ 'x-ssl-client-cert': escaped, 'ssl-client-cert': escaped, x_ssl_cert: escaped }, 'certificate_required']
  ]
  for (const [header, code] of headers) {
    const reply = await relay.call('/broadcast/list', { headers: header })
    t.match(reply, { status: 401, body: { error: String, code } }, JSON.stringify(header).slice(0, 80))
  }
  t.match(await relay.call('/broadcast/list', { headers: { 'X-SSL-CERT': escaped } }), { status: 200 })
})

t.test("validity is checked on every request, by the database's clock", async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  t.match(await relay.list(alice), { status: 200 })
  await sql`update clients set not_after = now() - interval '1 ms', not_before = now() - interval '1 day'`
  t.match(await relay.list(alice), { status: 401, body: { error: String, code: 'certificate_expired' } })
  await sql`update clients set not_after = now() + interval '2 days', not_before = now() + interval '1 day'`
  t.match(await relay.list(alice), { status: 401, body: { error: String, code: 'certificate_not_yet_valid' } })
})

t.test('white space and line endings of the PEM do not matter', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const crlf = edgeHeader({ certificate: alice.certificate.replaceAll('\n', '\r\n') })
  t.match(await relay.call('/broadcast/list', { headers: crlf }), { status: 200 })
})
