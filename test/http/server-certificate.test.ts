import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { renewServerCertificate, renewServerCertificateDaily } from '../../src/http/server-certificate.ts'
import follower from '../../src/http/server-certificate-follower.ts'
import { eventually } from '../support/eventually.ts'

const DAY = 86_400_000
const HOSTS = ['relay.example.com', '127.0.0.1', '::1']

const read = (dir: string, file: string) => readFileSync(join(dir, file), 'utf8')

t.test('an authority is made, and issues a certificate', async (t) => {
  const dir = join(t.testdir({}), 'made')
  t.equal(await renewServerCertificate(dir, HOSTS), 'made')
  const [authority, server] = ['ca.crt', 'server.crt'].map((file) => new X509Certificate(read(dir, file))) as [
    X509Certificate,
    X509Certificate
  ]
  for (const key of ['ca.key', 'server.key']) t.equal(statSync(join(dir, key)).mode & 0o777, 0o600)
  t.equal(authority.ca, true)
  t.equal(server.ca, false, 'rustls refuses a server certificate that is an authority')
  t.ok(server.checkIssued(authority))
  t.ok(server.verify(authority.publicKey))
  t.same(server.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'for servers')
  t.equal(server.checkHost('relay.example.com'), 'relay.example.com')
  t.equal(server.checkIP('::1'), '::1')
  const days = (server.validToDate.getTime() - server.validFromDate.getTime()) / DAY
  t.ok(days <= 398, 'not longer than Apple accepts')
  t.ok(server.validFromDate.getTime() < Date.now() - 0.9 * DAY, 'valid for slow clocks too')

  t.equal(await renewServerCertificate(dir, HOSTS), 'kept', 'made only once')
  t.equal(await renewServerCertificate(dir, HOSTS.slice(1)), 'kept', 'already covers these hosts')
  t.equal(await renewServerCertificate(dir, ['other.example.com']), 'made', 'made again for another host')
  t.ok(new X509Certificate(read(dir, 'server.crt')).checkIssued(authority), 'by the same authority')
})

t.test('a certificate is renewed when a third of its lifetime is left', async (t) => {
  const dir = t.testdir({})
  await renewServerCertificate(dir, HOSTS)
  const authority = read(dir, 'ca.crt')
  for (const [left, outcome] of [
    [133, 'kept'],
    [132, 'made'],
    [-1, 'made']
  ] as const) {
    const now = new X509Certificate(read(dir, 'server.crt')).validToDate.getTime() - left * DAY
    const clock = t.intercept(Date, 'now', { value: () => now })
    t.equal(await renewServerCertificate(dir, HOSTS), outcome, `${left} days left of 397`)
    clock.restore()
  }
  t.equal(read(dir, 'ca.crt'), authority, 'peers keep their authority')
})

t.test('what the authority has not issued is never replaced', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'old', hosts: ['old.example.com'], days: 2 })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey, 'lone.key': privateKey, 'x.crt': 'x' })
  t.equal(await renewServerCertificate(dir, HOSTS), 'foreign')
  t.notOk(existsSync(join(dir, 'ca.crt')))
  t.equal(await renewServerCertificate(dir, HOSTS, 'other'), 'made')
  t.equal(await renewServerCertificate(dir, HOSTS), 'foreign', 'also with an authority beside it')
  for (const [name, file] of Object.entries({ lone: 'lone.key', x: 'x.crt' })) {
    const only = new RegExp(
      `found only \\S+/${file} of \\S+/${name}\\.crt and \\S+/${name}\\.key: provide both, or neither`
    )
    await t.rejects(renewServerCertificate(dir, HOSTS, name), only)
  }
  t.equal(read(dir, 'server.crt'), certificate)
  for (const file of ['server.key', 'lone.key']) t.equal(read(dir, file), privateKey)
  t.equal(read(dir, 'x.crt'), 'x')
})

t.test('an interrupted run is completed', async (t) => {
  const dir = t.testdir({})
  await renewServerCertificate(dir, HOSTS)
  const key = read(dir, 'ca.key')
  // In the reverse order of their making.
  for (const missing of [['server.key'], ['server.key', 'server.crt'], ['server.key', 'server.crt', 'ca.crt']]) {
    for (const file of missing) rmSync(join(dir, file))
    t.equal(await renewServerCertificate(dir, HOSTS), 'made', `without ${missing}`)
    const [authority, server] = ['ca.crt', 'server.crt'].map((file) => new X509Certificate(read(dir, file)))
    t.ok(authority?.checkPrivateKey(createPrivateKey(key)), 'with the same key, which peers may trust')
    t.ok(server?.checkIssued(authority as X509Certificate))
    t.ok(server?.checkPrivateKey(createPrivateKey(read(dir, 'server.key'))))
  }
})

t.test('a lost key is replaced, but never an authority that somebody may trust', async (t) => {
  const dir = t.testdir({})
  await renewServerCertificate(dir, HOSTS)
  const authority = read(dir, 'ca.crt')
  rmSync(join(dir, 'server.key'))
  t.equal(await renewServerCertificate(dir, HOSTS), 'made')
  const certificate = new X509Certificate(read(dir, 'server.crt'))
  t.ok(certificate.checkPrivateKey(createPrivateKey(read(dir, 'server.key'))))

  rmSync(join(dir, 'ca.key'))
  t.equal(await renewServerCertificate(dir, HOSTS), 'kept', 'the key may be kept elsewhere')
  await t.rejects(renewServerCertificate(dir, HOSTS, 'another'), /ca\.crt has no key beside it/)
  t.equal(read(dir, 'ca.crt'), authority)
})

t.test('a key that does not match its certificate, or cannot be read, is replaced together with it', async (t) => {
  const dir = t.testdir({})
  await renewServerCertificate(dir, HOSTS)
  const authority = read(dir, 'ca.crt')
  const { privateKey } = await createSelfSigned({ commonName: 'other' })
  for (const key of [privateKey, '']) {
    writeFileSync(join(dir, 'server.key'), key)
    t.equal(await renewServerCertificate(dir, HOSTS), 'made')
    const certificate = new X509Certificate(read(dir, 'server.crt'))
    t.ok(certificate.checkPrivateKey(createPrivateKey(read(dir, 'server.key'))))
  }
  t.equal(read(dir, 'ca.crt'), authority)
})

t.test('a failed daily renewal is logged and tried again', async (t) => {
  const dir = join(t.testdir({ folder: 'is a file for now' }), 'folder')
  const errors: string[] = []
  renewServerCertificateDaily(dir, HOSTS, { error: (message) => errors.push(message) }, 20)
  await eventually(
    async () => errors[0],
    (error) => error !== undefined
  )
  t.match(
    errors[0],
    /^server certificate not renewed, trying again tomorrow; peers accept the old one until it expires: /
  )
  rmSync(dir)
  await eventually(
    async () => existsSync(join(dir, 'server.crt')),
    (isThere) => isThere
  )
})

t.test('a running API switches to the new certificate', async (t) => {
  const dir = t.testdir({})
  await renewServerCertificate(dir, HOSTS)
  const [certPath, keyPath] = [join(dir, 'server.crt'), join(dir, 'server.key')]
  const fastify = Fastify({ https: { cert: readFileSync(certPath), key: readFileSync(keyPath) } })
  fastify.register(follower, { certPath, keyPath, interval: 20 })
  await fastify.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => fastify.close())
  const { port } = fastify.server.address() as AddressInfo
  const first = await served(t, port)
  t.equal(first, fingerprint(dir))

  writeFileSync(keyPath, 'no key')
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal(await served(t, port), first, 'unreadable files change nothing')

  await renewServerCertificate(dir, HOSTS)
  t.not(fingerprint(dir), first)
  await eventually(
    () => served(t, port),
    (now) => now === fingerprint(dir)
  )
})

function fingerprint(dir: string) {
  return new X509Certificate(read(dir, 'server.crt')).fingerprint256
}

/** The fingerprint of the certificate on a new connection. */
async function served(t: Test, port: number) {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerX509Certificate()
  socket.destroy()
  return certificate?.fingerprint256
}
