import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RelayPeer } from '../../peer/src/index.ts'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { isRotationDue } from '../../peer/src/tracker/rotation.ts'
import { createTrackerClock } from '../../peer/src/tracker/tracker-clock.ts'
import { HOST, startServer, startTracker } from './helper.ts'

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]
/** Milliseconds by which clocks are wrong. */
const WRONG = [12 * HOUR, 3 * DAY, -12 * HOUR, -400 * DAY]

/** Sets this machine's clock, as programs see it. */
function setClock(t: Test, ahead: number) {
  const { now } = Date
  Date.now = () => now() + ahead
  t.teardown(() => {
    Date.now = now
  })
}

t.test('the tracker tells the time to a second, and how wrong this clock is', async (t) => {
  const messages: [number, string][] = [
    [61_000, '1 minute ahead of'],
    [-90 * MINUTE, '90 minutes behind'],
    [26 * HOUR, '26 hours ahead of'],
    [1095 * DAY, '1095 days ahead of'],
    [-3 * DAY, '3 days behind']
  ]
  for (const [ahead, words] of messages) {
    const clock = createTrackerClock()
    clock.set(new Date(Date.now() - ahead).toUTCString())
    t.equal(clock.hint('certificate_not_yet_valid'), `; this machine's clock is ${words} the tracker's`)
    t.ok(Math.abs(Date.now() - ahead - clock.now()) < 2000)
    t.equal(clock.hint('email_taken'), '')
  }
  const clock = createTrackerClock()
  for (const date of [undefined, '', 'now', '5', '2026', '2020-01-01T00:00:00Z', 'Xyz, 99 Foo 2020 99:99:99 GMT']) {
    clock.set(date)
    t.match(clock.hint('CERT_HAS_EXPIRED'), /clock says 2/, `${date} tells nothing`)
  }
  clock.set(new Date(Date.now() - 30_000).toUTCString())
  t.equal(clock.hint('CERT_HAS_EXPIRED'), '', 'a clock that is right is not the reason')
  t.ok(clock.now() >= Date.now() - 1000)
})

t.test('a peer with a wrong clock registers, rotates and is forgotten', async (t) => {
  const tracker = await startTracker(t)
  for (const ahead of WRONG) {
    await t.test(`${ahead / HOUR} hours`, async (t) => {
      setClock(t, ahead)
      const name = `peer${ahead / HOUR}`
      const peer = await tracker.open(name)
      t.same(await peer.register(), { isEmailPending: false })
      const { fingerprint } = peer.credentials
      const again = await tracker.open(name)
      t.not((await again.rotate()).fingerprint, fingerprint, 'without a call before that tells the time')
      t.same(await again.list(), [])
      await (await tracker.open(name)).forget()
      t.same(await tracker.sql`select from clients`, [], 'the tracker was told')
    })
  }
})

t.test('a wrong clock never costs an identity that may be registered', async (t) => {
  const tracker = await startTracker(t)
  setClock(t, 3 * DAY)
  const alice = await tracker.open('alice')
  const closed = await RelayPeer.open({ dir: tracker.dirOf('alice') })
  await closed.close()
  await t.rejects(closed.register(), { code: 'closed' })
  t.equal(alice.isRegistered, false, 'nothing was sent')
  const end = new AbortController()
  const lost = alice.register({ signal: end.signal })
  end.abort(new Error('the cable was cut'))
  await t.rejects(lost, /cable/)
  t.equal(alice.isRegistered, true, 'perhaps')
  const path = join(tracker.dirOf('alice'), 'identity.pem')
  const before = readFileSync(path, 'utf8')
  const message = /clock is 3 days ahead of the tracker's/
  await t.rejects(alice.register(), { code: 'certificate_not_yet_valid', message })
  t.equal(readFileSync(path, 'utf8'), before)
})

t.test('a rotation is due by the tracker, whatever this clock says', async (t) => {
  const credentials = { notBefore: new Date(0), notAfter: new Date(90 * DAY) } as RelayPeer['credentials']
  t.equal(isRotationDue(credentials, 59 * DAY), false)
  t.equal(isRotationDue(credentials, 61 * DAY), true)
  const tracker = await startTracker(t)
  const alice = await tracker.up('alice')
  const { fingerprint } = alice.credentials
  setClock(t, 300 * DAY)
  await alice.update({ ttl: 60 })
  t.equal(alice.credentials.fingerprint, fingerprint)
})

t.test("a tracker's certificate that is not valid now points to this clock", async (t) => {
  const { server } = await startServer(t, (_, response) => response.end())
  const times = { CERT_NOT_YET_VALID: DAY, CERT_HAS_EXPIRED: -3 * DAY }
  for (const [code, offset] of Object.entries(times)) {
    const notBefore = new Date(Date.now() + offset)
    const { certificate: cert, privateKey: key } = await createSelfSigned({
      ...{ commonName: 'localhost', hosts: [HOST], notBefore, days: 1 }
    })
    server.setSecureContext({ cert, key })
    const { port } = server.address() as { port: number }
    const peer = await RelayPeer.open({
      ...{ dir: join(t.testdir({}), code), tracker: `https://${HOST}:${port}`, email: 'alice@example.com', ca: cert }
    })
    t.teardown(() => peer.close())
    const message = /; this machine's clock says 20\d\d-/
    await t.rejects(peer.register(), { code: 'tracker_untrusted', message, cause: { code } })
    t.equal(peer.isRegistered, false, 'nothing was sent')
  }
})
