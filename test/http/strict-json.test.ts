import t from 'tap'
import { parseStrictJson } from '../../src/http/strict-json.ts'
import { type ApiError, statusOf } from '../../src/runtime/error-catalogue.ts'

const parse = (text: string | Buffer) => parseStrictJson(Buffer.from(text as string))

t.test('JSON that means the same to everyone is accepted', async (t) => {
  for (const text of [
    '{}',
    ' {"a":{"a":[{"a":1},{"a":2}]},"b":"\\"a\\":1","c\\"d":"e:"} ',
    '{"":"","\\u0000":"\\\\","😀":"\\ud83d\\ude00"}',
    '[1e308,-1.5E-10,0.1,9007199254740993]',
    '"text"',
    'null'
  ]) {
    t.same(parse(text), JSON.parse(text), text)
  }
})

t.test('JSON that is ambiguous or invalid is refused', async (t) => {
  for (const [text, message] of [
    ['', /JSON/],
    ['{', /JSON/],
    ['{"a":1,}', /JSON/],
    ['{"a":1,"a":1}', /duplicate/],
    ['{"a":1,"\\u0061":1}', /duplicate/],
    ['{"b":[{"a":1 , "a" : 2}]}', /duplicate/],
    ['{"__proto__":{}}', /JSON/],
    ['{"\\u005f_proto__":{}}', /JSON/],
    ['{"constructor":{"prototype":{}}}', /JSON/],
    ['{"a":"\\ud800"}', /unpaired surrogate/],
    ['{"\\udfff":1}', /unpaired surrogate/],
    ['{"a":1e400}', /too large/],
    ['[-1e400]', /too large/],
    [`${'['.repeat(34)}${']'.repeat(34)}`, /33 levels/],
    [`${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`, /33 levels/],
    [Buffer.from([0x22, 0xff, 0x22]), /UTF-8/],
    [Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /UTF-8/]
  ] as [string | Buffer, RegExp][]) {
    const error = t.throws(() => parse(text), { code: 'bad_request', message }, String(text).slice(0, 40))
    t.equal(statusOf(error as ApiError), 400)
  }
})
