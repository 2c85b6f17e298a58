import t from 'tap'
import { createChangeLog } from '../src/presence/change-log.ts'

const online = (email: string) => ({ clientId: email, email, json: `{"email":"${email}"}` })
const text = (parts: Buffer[]) => Buffer.concat(parts).toString()

t.test('everyone reads the same events, but those about themselves', async (t) => {
  const log = createChangeLog()
  t.equal(log.end(), 0)
  log.append(['a', 'b', 'c'], [online('c'), online('a')])
  t.equal(log.end(), 1)
  const [a, b, c] = [
    'event: online\ndata: {"email":"a"}\n\n',
    'event: offline\ndata: {"email":"b"}\n\n',
    'event: online\ndata: {"email":"c"}\n\n'
  ]
  t.equal(text(log.at(0, 'stranger')), `${a}${b}${c}`, 'in their order')
  t.equal(text(log.at(0, 'a')), `${b}${c}`)
  t.equal(text(log.at(0, 'b')), `${a}${c}`)
  t.equal(text(log.at(0, 'c')), `${a}${b}`)
  log.append(['a'], [])
  t.same(log.at(1, 'a'), [])
})

t.test('the oldest events are dropped when there is too much', async (t) => {
  const log = createChangeLog(100)
  for (let n = 0; n < 10; n++) log.append([`peer-${n}`], [])
  t.equal(log.end(), 10)
  t.ok(log.isTooOld(7))
  t.notOk(log.isTooOld(8), 'two of 46 bytes are kept')
  t.match(text(log.at(8, 'x')), 'peer-8')
  log.append(['x'.repeat(200)], [])
  t.notOk(log.isTooOld(10), 'the last one, however large')
  t.ok(log.isTooOld(9))
})

t.test('nothing before it was cleared is known any more', async (t) => {
  const log = createChangeLog()
  const before = log.end()
  log.clear()
  t.ok(log.isTooOld(before), 'also the position of what was to come')
  t.notOk(log.isTooOld(log.end()))
  log.append(['a'], [])
  t.match(text(log.at(log.end() - 1, 'x')), 'offline')
})
