import t, { type Test } from 'tap'
import { TrackerError } from '../../peer/src/errors.ts'
import { type Announced, Announcement, type PeerState } from '../../peer/src/presence/announcement.ts'
import { Suspension } from '../../peer/src/presence/suspension.ts'
import { backoff, pause } from '../../peer/src/tracker/backoff.ts'
import type { Announcement as Body } from '../../peer/src/tracker/tracker.ts'
import { eventually } from '../support/eventually.ts'

const BUSY = new TrackerError('busy', { status: 503, code: 'service_unavailable' })
const TAKEN = new TrackerError('taken', { status: 409, code: 'email_taken' })
const INVALID = new TrackerError('bad', { status: 400, code: 'invalid_request' })
const UNTRUSTED = new TrackerError('who is it?', { status: 0, code: 'tracker_untrusted' })
const ACCEPTED = { expires_in: 3600, observed_address: null, reannounceAfter: 1800 }

/** An announcement to a tracker that answers like this, the first answer first and the last one forever. */
function start(t: Test, answers: (Error | typeof ACCEPTED)[], wanted: Partial<Announced> = {}) {
  const suspension = new Suspension()
  const sent: Body[] = []
  const states: PeerState[] = []
  let inFlight = 0
  const announcement = new Announcement(
    { port: 1, addresses: () => ['192.0.2.1'], ...wanted },
    {
      async announce(body) {
        t.equal(++inFlight, 1, 'nothing is sent twice at once')
        sent.push(body)
        await new Promise((resolve) => setTimeout(resolve, 10))
        inFlight--
        const answer = answers.length > 1 ? answers.shift() : answers[0]
        if (answer instanceof Error) throw answer
        return answer as typeof ACCEPTED
      },
      onState: (state) => states.push(state),
      suspension,
      look: 10
    }
  )
  const alive = setInterval(() => {}, 1000) // it keeps no process alive
  t.teardown(() => {
    clearInterval(alive)
    announcement.stop()
  })
  announcement.run()
  return { announcement, suspension, sent, states, names: () => states.map(({ name }) => name), answers }
}

t.test('backoff is exponential with full jitter, up to a minute, after what was asked for', async (t) => {
  t.same(
    [1, 2, 3, 6, 7, 8, 100].map((failures) => backoff(failures, undefined, 1)),
    [1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000]
  )
  t.equal(backoff(100, undefined, 0), 0)
  const asked = new TrackerError('later', { status: 429, code: 'too_many_requests', retryAfter: 30 })
  t.equal(backoff(1, asked, 0.5), 30_500)
  t.equal(backoff(1, BUSY, 0.5), 500)
  for (let n = 0; n < 100; n++) t.ok(backoff(3) < 4000)
})

t.test('a pause longer than timers can be does not end at once', async (t) => {
  const signal = AbortSignal.timeout(50)
  await pause(2 ** 40, signal)
  t.ok(signal.aborted)
})

t.test('an announcement is repeated after a temporary failure, and ended by a lasting one', async (t) => {
  const { announcement, sent, states, names } = start(t, [BUSY, BUSY, { ...ACCEPTED, reannounceAfter: 0 }, TAKEN])
  await announcement.online()
  await eventually(
    async () => names(),
    (all) => all.includes('stopped')
  )
  t.same(names(), ['starting', 'retrying', 'retrying', 'online', 'stopped'])
  t.match(states, [
    {},
    { reason: BUSY, nextAttempt: Date },
    {},
    { until: Date, observedAddress: null },
    { reason: TAKEN }
  ])
  t.equal(sent.length, 4)
  await t.rejects(announcement.online(), TAKEN, 'whoever asks later is told')
})

t.test('an announcement that cannot work is refused at once', async (t) => {
  const refused = start(t, [INVALID])
  await t.rejects(refused.announcement.online(), INVALID)
  t.match(refused.states.at(-1), { name: 'stopped', reason: INVALID })

  const nowhere = start(t, [ACCEPTED], { addresses: () => [] })
  await t.rejects(nowhere.announcement.online(), { code: 'invalid_argument' })
  t.same(nowhere.sent, [])
})

t.test('changed addresses are announced at once, and what is wrong with them for a while ends nothing', async (t) => {
  let addresses = ['192.0.2.1']
  let isBroken = false
  const look = () => {
    if (isBroken) throw new Error('a fault of the application')
    return addresses
  }
  const { announcement, sent, names, answers } = start(t, [ACCEPTED], { addresses: look })
  await announcement.online()
  addresses = ['192.0.2.7']
  await eventually(
    async () => sent,
    ({ length }) => length === 2
  )
  t.same(
    sent.map(({ addresses }) => addresses),
    [['192.0.2.1'], ['192.0.2.7']]
  )

  isBroken = true
  await eventually(
    async () => names(),
    (all) => all.at(-1) === 'retrying'
  )
  isBroken = false
  addresses = ['192.0.2.8']
  await eventually(
    async () => sent.at(-1)?.addresses,
    (last) => last?.[0] === '192.0.2.8'
  )
  answers[0] = INVALID
  addresses = ['192.0.2.9']
  await eventually(
    async () => sent.length,
    (length) => length > 3
  )
  await eventually(
    async () => names(),
    (all) => all.at(-1) === 'retrying'
  )
  answers[0] = ACCEPTED
  announcement.wake()
  await announcement.online()
  t.notOk(names().includes('stopped'))
})

t.test('a change waits for the tracker, and one that it refuses is undone', async (t) => {
  const { announcement, sent, answers, states } = start(t, [ACCEPTED], { capabilities: { n: 1 } })
  await announcement.online()
  announcement.change({ capabilities: { n: 2 }, ttl: 60 })
  await announcement.online()
  t.match(sent.at(-1), { port: 1, capabilities: { n: 2 }, ttl: 60 })

  answers.unshift(INVALID)
  announcement.change({ port: 2 })
  await t.rejects(announcement.online(), INVALID)
  await eventually(
    async () => sent.at(-1)?.port,
    (port) => port === 1
  )
  t.match(announcement.wanted, { port: 1, ttl: 60 })
  await announcement.online()
  t.equal(states.at(-1)?.name, 'online')

  answers[0] = BUSY
  announcement.change({ port: 3 })
  const impatient = AbortSignal.timeout(50)
  await t.rejects(announcement.online(impatient), { name: 'TimeoutError' })
  t.equal(announcement.wanted.port, 3, 'it is made as soon as the tracker is there')
})

t.test('a tracker that cannot be trusted is reported, and tried again', async (t) => {
  const { announcement, states, answers } = start(t, [UNTRUSTED])
  await t.rejects(announcement.online(), UNTRUSTED)
  t.match(states.at(-1), { name: 'untrusted', reason: UNTRUSTED, nextAttempt: Date })
  answers[0] = ACCEPTED
  announcement.wake()
  await announcement.online()
  t.equal(states.at(-1)?.name, 'online')
})

t.test('an announcement that is stopped tells those who wait for it', async (t) => {
  const { announcement, states } = start(t, [BUSY])
  const waiting = t.rejects(announcement.online(), { code: 'withdrawn' })
  const aborted = AbortSignal.abort(new Error('never mind'))
  await t.rejects(announcement.online(aborted), /never mind/)
  announcement.stop()
  announcement.stop(TAKEN)
  await waiting
  t.same(states.at(-1), { name: 'stopped' })
  await t.rejects(announcement.online(), { code: 'withdrawn' })
})

t.test('a machine that slept announces at once, although its timers stood still', async (t) => {
  const { announcement, sent } = start(t, [ACCEPTED])
  await announcement.online()
  const now = Date.now
  t.teardown(() => Object.assign(Date, { now }))
  Date.now = () => now() + 1_800_000
  await eventually(
    async () => sent.length,
    (length) => length >= 2
  )
  t.pass('its clock says so')
})

t.test('an announcement that is in flight when the peer is suspended is made again', async (t) => {
  const { announcement, suspension, sent, names } = start(t, [ACCEPTED])
  t.equal(sent.length, 1)
  suspension.suspend()
  await eventually(
    async () => names(),
    (all) => all.includes('stopped')
  )
  suspension.resume()
  await announcement.online()
  t.same(names(), ['starting', 'stopped', 'starting', 'online'])
  t.equal(sent.length, 2)
})
