import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { TrackerError } from '../../peer/src/errors.ts'
import { type Credentials, Identity } from '../../peer/src/identity/identity.ts'
import { signRotation } from '../../peer/src/identity/rotation-chain.ts'
import { RelayPeer } from '../../peer/src/index.ts'
import { recover, rotate } from '../../peer/src/tracker/rotation.ts'
import { createTracker } from '../../peer/src/tracker/tracker.ts'
import { startServer, startTracker } from './helper.ts'

/** A registered peer, and what its `rotate` consists of, to break off between two steps. */
async function start(t: Test) {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  await alice.register()
  const dir = tracker.dirOf('alice')
  const identity = Identity.load(dir)
  const calls = createTracker({ url: tracker.origin, ca: tracker.ca, credentials: () => identity.credentials })
  t.teardown(() => calls.close())
  /** What the process that crashed leaves behind is usable, and the next one finishes it. */
  const goOn = async () => {
    const next = identity.next()
    const alice = await tracker.open('alice')
    t.same(await alice.list(), [], 'it works')
    t.equal((await alice.rotate()).fingerprint, next?.fingerprint, 'and goes on with the same certificate')
    t.same(await alice.list(), [])
    t.notOk(existsSync(join(dir, 'next.pem')))
  }
  return { tracker, alice, dir, identity, calls, goOn }
}

function signed({ credentials }: Identity, next: Credentials) {
  return [next, signRotation(credentials, next)] as const
}

t.test('a rotation that crashed before the tracker knew the next certificate is completed', async (t) => {
  const { identity, dir, goOn } = await start(t)
  await identity.makeNext()
  t.equal(statSync(join(dir, 'next.pem')).mode & 0o777, 0o600)
  await goOn()
})

t.test('a rotation that crashed before the next certificate was used is completed', async (t) => {
  const { identity, calls, goOn } = await start(t)
  await calls.proposeCertificate(...signed(identity, await identity.makeNext()))
  await goOn()
})

t.test('a rotation that crashed before the folder was changed is completed', async (t) => {
  const { tracker, identity, calls, alice, dir } = await start(t)
  const next = await identity.makeNext()
  await calls.proposeCertificate(...signed(identity, next))
  await calls.certificate({ as: next })
  t.same(await alice.list(), [], 'a process that ran on finds it')
  t.equal(alice.credentials.fingerprint, next.fingerprint)
  t.same(readdirSync(dir).sort(), ['identity.pem', 'settings.json'])
  t.same(await (await tracker.open('alice')).list(), [], 'so does a new one')
})

t.test('rotate completes a rotation that the tracker has completed already', async (t) => {
  const { identity, calls, alice } = await start(t)
  const next = await identity.makeNext()
  await calls.proposeCertificate(...signed(identity, next))
  await calls.certificate({ as: next })
  t.equal((await alice.rotate()).fingerprint, next.fingerprint)
})

t.test('a next certificate that the tracker refuses is replaced by another', async (t) => {
  const { tracker, identity, alice } = await start(t)
  const taken = await identity.makeNext()
  await tracker.relay.register({ email: 'bob@example.com', certificate: taken.certificate })
  await t.rejects(alice.rotate(), { code: 'certificate_taken' })
  t.not((await alice.rotate()).fingerprint, taken.fingerprint, 'the next attempt makes another')
  await tracker.fastify.close()
  await t.rejects(alice.rotate(), { code: 'tracker_unreachable' })
  t.ok(identity.next(), 'which is kept when the tracker is away')
})

t.test('a rotation that another process completes meanwhile succeeds', async (t) => {
  const { identity, calls } = await start(t)
  const proposeCertificate: typeof calls.proposeCertificate = async (next, signature) => {
    await calls.proposeCertificate(next, signature)
    await calls.certificate({ as: next })
    throw new TrackerError('it is in force', { status: 409, code: 'certificate_taken' })
  }
  const next = await rotate(identity, { ...calls, proposeCertificate })
  t.equal(identity.credentials.fingerprint, next.fingerprint)
  t.same(await calls.list(), [])
})

t.test('recover finds the valid certificate while another process rotates twice', async (t) => {
  const { tracker, identity, calls, dir } = await start(t)
  const other = Identity.load(dir)
  const theirs = createTracker({ url: tracker.origin, ca: tracker.ca, credentials: () => other.credentials })
  t.teardown(() => theirs.close())
  const certificate: typeof calls.certificate = async (options) => {
    for (let n = 0; n < 2; n++) await rotate(other, theirs)
    return calls.certificate(options)
  }
  await identity.makeNext()
  t.ok(await recover(identity, { ...calls, certificate }, identity.credentials.fingerprint))
  t.equal(identity.credentials.fingerprint, other.credentials.fingerprint)
  t.same(await calls.list(), [])
})

t.test('a call is repeated while another process rotates again and again', async (t) => {
  let calls = 0
  const { url, ca } = await startServer(t, async (_, response) => {
    if (++calls === 4) return response.end('[]')
    other.promote(await other.makeNext())
    response.writeHead(401).end(JSON.stringify({ error: 'no', code: 'certificate_unknown' }))
  })
  const dir = join(t.testdir({}), 'alice')
  const other = await Identity.open(dir, { tracker: url, email: 'alice@example.com', ca })
  const alice = await RelayPeer.open({ dir })
  t.teardown(() => alice.close())
  t.same(await alice.list(), [])
})

t.test('a certificate that the tracker does not know is reported', async (t) => {
  const { tracker, identity, alice } = await start(t)
  await tracker.sql`delete from clients`
  await t.rejects(alice.list(), { code: 'certificate_unknown' })
  await identity.makeNext()
  await t.rejects(alice.list(), { code: 'certificate_unknown' }, 'nor the next one')
  await t.rejects(alice.rotate(), { code: 'certificate_unknown' })
})

t.test('a tracker that cannot say whether it knows the next certificate is reported', async (t) => {
  const { url, ca } = await startServer(t, ({ url }, response) => {
    const [status, code] = url?.endsWith('/certificate') ? [503, 'service_unavailable'] : [401, 'certificate_unknown']
    response.writeHead(status as number).end(JSON.stringify({ error: 'no', code }))
  })
  const dir = join(t.testdir({}), 'alice')
  await (await Identity.open(dir, { tracker: url, email: 'alice@example.com', ca })).makeNext()
  const alice = await RelayPeer.open({ dir })
  t.teardown(() => alice.close())
  await t.rejects(alice.list(), { code: 'service_unavailable', isTemporary: true })
})

t.test('two processes that rotate at once agree', async (t) => {
  const { tracker, identity, dir } = await start(t)
  const other = Identity.load(dir)
  const [one, two] = await Promise.all([identity.makeNext(), other.makeNext()])
  t.equal(one.fingerprint, two.fingerprint)
  identity.discardNext(one)

  const processes = await Promise.all([tracker.open('alice'), tracker.open('alice'), tracker.open('alice')])
  const results = await Promise.allSettled(processes.map((alice) => alice.rotate()))
  t.ok(results.some(({ status }) => status === 'fulfilled'))
  for (const alice of processes) t.same(await alice.list(), [])

  const stale = await identity.makeNext()
  identity.discardNext(stale)
  const newer = await other.makeNext()
  identity.promote(stale)
  identity.discardNext(stale)
  t.equal(other.next()?.fingerprint, newer.fingerprint, 'one that another process has made since stays as it is')
})

t.test('the folder keeps what is not of the identity', async (t) => {
  const { identity, dir } = await start(t)
  writeFileSync(join(dir, 'notes.txt'), 'mine')
  Identity.remove(dir)
  t.same(readdirSync(dir), ['notes.txt'])
  t.equal(identity.refresh(), identity.credentials, 'what is in use stays in use')
  rmSync(dir, { recursive: true })
  await t.rejects(identity.makeNext(), { code: 'identity_not_saved' })

  const again = await Identity.open(dir, identity.settings)
  t.match(readFileSync(join(dir, 'unregistered.pem'), 'utf8'), again.credentials.certificate)
})
