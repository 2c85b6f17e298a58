import t from 'tap'
import { CHUNK_BYTES } from '../../src/http/event-stream.ts'
import { createChangeLog } from '../../src/presence/change-log.ts'

const online = (email: string) => ({ clientId: email, email, json: `{"email":"${email}"}` })

t.test('all readers get the same events, except those about themselves', async (t) => {
  const log = createChangeLog()
  t.equal(log.end(), 0)
  log.append(['a', 'b', 'c'], [online('c'), online('a')])
  t.equal(log.end(), 1)
  const [a, b, c] = [
    'event: online\ndata: {"email":"a"}\n\n',
    'event: offline\ndata: {"email":"b"}\n\n',
    'event: online\ndata: {"email":"c"}\n\n'
  ]
  t.equal(log.at(0, 'stranger').toString(), `${a}${b}${c}`, 'in their order')
  t.equal(log.at(0, 'a').toString(), `${b}${c}`)
  t.equal(log.at(0, 'b').toString(), `${a}${c}`)
  t.equal(log.at(0, 'c').toString(), `${a}${b}`)
  log.append(['a'], [])
  t.equal(log.at(1, 'a').toString(), '')
})

t.test('the oldest events are dropped beyond the limit', async (t) => {
  const log = createChangeLog(300)
  for (let n = 0; n < 10; n++) log.append([`peer-${n}`], [])
  t.equal(log.end(), 10)
  t.ok(log.isTooOld(7))
  t.notOk(log.isTooOld(8), 'two of 116 bytes are kept')
  t.match(log.at(8, 'x').toString(), 'peer-8')
  log.append(['x'.repeat(200)], [])
  t.notOk(log.isTooOld(10), 'the last one is kept, however large')
  t.ok(log.isTooOld(9))
})

t.test('a cleared log forgets every earlier event', async (t) => {
  const log = createChangeLog()
  const before = log.end()
  log.clear()
  t.ok(log.isTooOld(before), 'even the position after the last event')
  t.notOk(log.isTooOld(log.end()))
  log.append(['a'], [])
  t.match(log.at(log.end() - 1, 'x').toString(), 'offline')
})

t.test('one read is small, however many events come at once', async (t) => {
  const log = createChangeLog()
  const emails = Array.from({ length: 500 }, (_, n) => `peer-${n}`)
  log.append(emails, emails.map(online))
  t.ok(log.end() > 1)
  const parts = Array.from({ length: log.end() }, (_, n) => log.at(n, 'peer-250'))
  t.ok(parts.every(({ length }) => length < CHUNK_BYTES + 100))
  t.same(
    [
      ...Buffer.concat(parts)
        .toString()
        .matchAll(/"(peer-\d+)"/g)
    ].map(([, email]) => email),
    emails.filter((email) => email !== 'peer-250')
  )
})

t.test('the memory of short events counts with its overhead', async (t) => {
  const log = createChangeLog(100_000)
  for (let n = 0; n < 2000; n++) log.append(['a'], [])
  t.ok(log.isTooOld(1000))
  t.notOk(log.isTooOld(1500))
})
