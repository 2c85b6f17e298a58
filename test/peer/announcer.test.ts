import t from 'tap'
import { stayAnnounced } from '../../peer/src/announcer.ts'
import { backoff } from '../../peer/src/backoff.ts'
import { TrackerError } from '../../peer/src/errors.ts'

const BUSY = new TrackerError('busy', { status: 503, code: 'service_unavailable' })

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

t.test('an announcement is repeated after a temporary failure, and ended by a lasting one', async (t) => {
  const end = new AbortController()
  const failures: string[] = []
  let calls = 0
  let atOnce = 0
  const gone = new TrackerError('taken', { status: 409, code: 'email_taken' })
  const announced = stayAnnounced({
    addresses: () => ['192.0.2.1'],
    async announce() {
      t.equal(++atOnce, 1, 'nothing is sent twice at once')
      await new Promise((resolve) => setTimeout(resolve, 10))
      atOnce--
      if (++calls <= 2) throw BUSY
      if (calls === 3) return 0
      throw gone
    },
    onFailure: (error) => failures.push(error.message),
    signal: end.signal
  })
  const alive = setInterval(() => {}, 1000) // it keeps no process alive
  await t.rejects(announced, gone)
  clearInterval(alive)
  t.equal(calls, 4)
  t.same(failures, ['busy', 'busy'])
})

t.test('changed addresses are announced at once, until the signal', async (t) => {
  const end = new AbortController()
  const sent: string[][] = []
  let addresses = ['192.0.2.1']
  const announced = stayAnnounced({
    addresses: () => addresses,
    async announce(current) {
      sent.push(current)
      if (sent.length === 3) end.abort()
      addresses = [`192.0.2.${sent.length}`]
      if (sent.length === 3) throw BUSY
      return 3600
    },
    onFailure: () => t.fail('it has ended'),
    signal: end.signal,
    look: 10
  })
  const alive = setInterval(() => {}, 1000)
  addresses = ['192.0.2.7']
  await announced
  clearInterval(alive)
  t.same(sent, [['192.0.2.1'], ['192.0.2.7'], ['192.0.2.2']])
})
