import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { callerAddress, canonicalAddress } from '../../src/http/caller-address.ts'
import { ANNOUNCEMENT, client, startApi } from '../support/api.ts'
import type { Call } from '../support/http-client.ts'
import { createPeer, edgeHeader, registerPeer } from '../support/peers.ts'

t.test('an address is always spelled the same', async (t) => {
  t.equal(canonicalAddress('2001:DB8:0::9'), '2001:db8::9')
  t.equal(canonicalAddress('::ffff:203.0.113.9'), '203.0.113.9')
  t.equal(canonicalAddress('::ffff:0:203.0.113.9'), '::ffff:0:cb00:7109', 'not IPv4-mapped')
  for (const none of ['unknown', '', 'fe80::1%eth0', '203.0.113.9:80']) t.equal(canonicalAddress(none), undefined)
})

t.test("a caller's address loses its zone id", async (t) => {
  t.equal(callerAddress('FE80::1%eth0'), 'fe80::1')
  t.equal(callerAddress('::ffff:203.0.113.9'), '203.0.113.9')
  for (const none of ['unknown', '', '%eth0', undefined]) t.equal(callerAddress(none), undefined)
})

t.test('an edge on the same link is trusted, and the address of a caller there is seen', async (t) => {
  const { fastify, relay } = await startApi(t, { env: { TRUSTED_PROXIES: 'loopback,linklocal' } })
  const alice = await registerPeer(relay)
  const announce = async (headers: Record<string, string>) => {
    const { statusCode, body } = await fastify.inject({
      method: 'POST',
      url: '/api/relay/broadcast/ready',
      remoteAddress: 'fe80::1%eth0',
      headers: { ...edgeHeader(alice), ...headers },
      payload: { ...ANNOUNCEMENT, addresses: ['::', '10.0.0.1'] }
    })
    t.equal(statusCode, 200)
    return JSON.parse(body).observed_address
  }
  t.equal(await announce({}), 'fe80::1')
  t.equal(await announce({ 'x-forwarded-for': '203.0.113.9' }), '203.0.113.9')
  t.equal(await announce({ 'x-forwarded-for': 'fe80::2%eth1' }), 'fe80::2')
  t.match(await relay.own(alice), { body: { addresses: ['10.0.0.1'], observed_address: 'fe80::2' } })
})

// Some containers have none; the test before this one is then all there is.
for (const { host, address } of linkLocals().slice(0, 1)) {
  t.test(`a peer calls ${host} over TLS`, async (t) => {
    const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost' })
    const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
    const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
    const { port } = await startApi(t, { env, host })
    const relay = client(`https://localhost:${port}/api/relay`)
    const there = { hostname: host } as Call // a URL cannot have a zone id
    const alice = await createPeer()
    t.match(await relay.register(alice, there), { status: 200 })
    const body = { ...ANNOUNCEMENT, addresses: ['0.0.0.0', '10.0.0.1'] }
    t.match(await relay.call('/broadcast/ready', { as: alice, body, ...there }), {
      status: 200,
      body: { observed_address: address }
    })
    t.match(await relay.call('/broadcast/ready', { as: alice, ...there }), { body: { addresses: ['10.0.0.1'] } })
  })
}

/** This machine's link-local addresses, on interfaces that also have IPv4: those of containers come and go. */
function linkLocals() {
  return Object.entries(networkInterfaces())
    .filter(([, infos = []]) => infos.some(({ family }) => family === 'IPv4'))
    .flatMap(([name, infos = []]) => infos.map(({ address }) => ({ address, host: `${address}%${name}` })))
    .filter(({ address }) => address.startsWith('fe80:'))
}
