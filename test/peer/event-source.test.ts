import { Readable } from 'node:stream'
import t from 'tap'
import { parseEvents } from '../../peer/src/tracker/event-source.ts'

function parse(...chunks: string[]) {
  return Readable.from(parseEvents(Readable.from(chunks))).toArray()
}

t.test('a stream of events is read as the standard says', async (t) => {
  const text =
    '\uFEFF: a comment\nretry: 1500\n\nevent: list\ndata: [1,\ndata:2]\n\ndata\n\nid: 7\nretry: soon\nevent: bare\n\ndata: a:b\r\n\r\ndata:  c\r\rdata: lost'
  const lines = [
    { type: 'open' },
    { type: 'retry', delay: 1500 },
    { type: 'data', name: 'list', line: '[1,' },
    { type: 'data', name: 'list', line: '2]' },
    { type: 'end', name: 'list' },
    { type: 'data', name: 'message', line: '' },
    { type: 'end', name: 'message' },
    { type: 'data', name: 'message', line: 'a:b' },
    { type: 'end', name: 'message' },
    { type: 'data', name: 'message', line: ' c' },
    { type: 'end', name: 'message' }
  ]
  t.same(await parse(text), lines)
  t.same(await parse(...text), lines, 'also a character at a time')
})

t.test('an event may be of any length, but not a line of it', async (t) => {
  const half = 'x'.repeat(512 * 1024)
  t.equal((await parse(...Array(40).fill(`data: ${half}\n`), '\n')).length, 42)
  await t.rejects(parse('data: ', half, half, half), /too long/)
})
