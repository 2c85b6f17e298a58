import { Readable } from 'node:stream'
import t from 'tap'
import { parseEvents } from '../../peer/src/event-source.ts'

function parse(...chunks: string[]) {
  return Readable.from(parseEvents(Readable.from(chunks))).toArray()
}

t.test('a stream of events is read as the standard says', async (t) => {
  const text =
    '\uFEFF: a comment\nretry: 1500\n\nevent: list\ndata: [1,\ndata:2]\n\ndata\n\nid: 7\nretry: soon\nevent: bare\n\ndata: a:b\r\n\r\ndata:  c\r\rdata: lost'
  const events = [
    { name: 'list', data: '[1,\n2]', retry: 1500 },
    { name: 'message', data: '', retry: 1500 },
    { name: 'message', data: 'a:b', retry: 1500 },
    { name: 'message', data: ' c', retry: 1500 }
  ]
  t.same(await parse(text), events)
  t.same(await parse(...text), events, 'also a character at a time')
})

t.test('an event that is too long is refused', async (t) => {
  const mebi = 'x'.repeat(1024 * 1024)
  await t.rejects(parse('data: ', ...Array(17).fill(mebi)), /too long/)
  await t.rejects(parse(...Array(17).fill(`data: ${mebi}\n`)), /too long/)
})
