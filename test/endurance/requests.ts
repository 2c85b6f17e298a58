import { createHash, createPrivateKey, createPublicKey, sign, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { ANNOUNCEMENT } from '../support/api.ts'
import { anything, edits, pemLike, text } from '../support/arbitraries.ts'
import { fixture } from '../support/fixtures.ts'
import { edgeHeader } from '../support/peers.ts'

// Valid requests that are then mutated. A seed alone determines them, to the byte. Strings hold a byte in
// each character (Latin-1), unless they are JSON that is still being made.

export type Target = 'api' | 'edge'
export type Caller = 'nobody' | 'stranger' | 'alice'

export interface Request {
  target: Target
  /** Whose certificate the TLS handshake presents, or the edge's header has. */
  caller: Caller
  bytes: Buffer
}

type Header = [name: string, value: string]

interface Message {
  method: string
  path: string
  query: string
  version: string
  headers: Header[]
  /** Those of a JSON body, each as the text that it has there. */
  members?: Header[] | undefined
  body: string
  /** What to say of the body's length in place of the truth. */
  framing?: Header[]
}

/** A peer whose key follows from its name: the fixture's certificate, with another key and signature in it. */
export function seededPeer(name: string) {
  const old = new X509Certificate(fixture('ed25519.crt'))
  const pkcs8 = Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    createHash('sha256').update(name).digest()
  ])
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const rawKey = (key: ReturnType<typeof createPublicKey>) =>
    Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url')
  const der = Buffer.from(old.raw)
  rawKey(createPublicKey(privateKey)).copy(der, der.indexOf(rawKey(old.publicKey)))
  // SEQUENCE { what is signed, algorithm (7 bytes), BIT STRING (3 bytes) with a signature (64 bytes) }, each header 4 bytes
  sign(null, der.subarray(4, -74), privateKey).copy(der, der.length - 64)
  return {
    email: `${name}@example.com`,
    fingerprint: createHash('sha256').update(der).digest('base64url'),
    certificate: new X509Certificate(der).toString(),
    privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  }
}

/** Registered at the start; many requests come from her. */
export const alice = seededPeer('alice')
/** Registered, and out of reach of any request, since none presents her certificate. */
export const carol = seededPeer('carol')
/** Registers at the end, to see what is left. */
export const dave = seededPeer('dave')
/** Not registered at the start. */
export const stranger = seededPeer('stranger')

/** The first `count` requests of a seed: one for each target in turn. */
export function* mutatedRequests(seed: number, count: number): Generator<Request> {
  const batch = 500
  for (let n = 0; n < count; n += batch) {
    yield* fc
      .sample(pair, { seed: Math.imul(seed, 0x9e3779b1) + n / batch, numRuns: batch / 2 })
      .flat()
      .slice(0, count - n)
  }
}

const latin1 = (utf8: string) => Buffer.from(utf8).toString('latin1')
const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array).toString('latin1'))

const SQL = [
  ...["'", "''", '"', '`', '\\', "\\'", ';', '--', '/*', '%', '_', '$1', '$$', "' or '1'='1", "' or 1=1--", "a'||'b"],
  ...["'; drop table clients; --", "' union select null, version()--", "'; select pg_sleep(9)--", "\\'; commit; --"],
  ...['1; select 1', "E'\\\\'", '\u02bc or 1=1--', '{"$gt": ""}', '{{7*7}}', "$a$'$a$", '\ufeff', '＇ or 1=1--']
]

const NASTY = [
  ...[
    '',
    ' ',
    '\t',
    '\0',
    '\r',
    '\n',
    '\r\n',
    '\x7f',
    '\x80',
    '\xff\xfe',
    '\xc0\xaf',
    '\xed\xa0\x80',
    '\xf5\x80\x80\x80'
  ],
  ...[
    '%',
    '%0',
    '%00',
    '%zz',
    '%c0%ae',
    '%ff',
    '%ed%a0%80',
    '%2e%2e%2f',
    '%252e',
    '%0d%0a',
    '%u0041',
    '+',
    '&',
    '=',
    '?'
  ],
  ...['#', '*', '/', '//', '\\', '../', './', ':', '::', '@', ',', '[', ']', '{', '}', '()', 'http://a/', '__proto__'],
  ...['-1', '0', '1e999', 'NaN', 'null', 'true', '18446744073709551616', 'a'.repeat(300), 'a'.repeat(9000)],
  ...SQL.map(latin1)
]
const nasty = fc.oneof(fc.constantFrom(...NASTY), bytes, text.map(latin1))

/** JSON as text, for what no value can express. */
const NASTY_JSON = [
  ...[
    'null',
    'true',
    '0',
    '-0',
    '1e999',
    '-1e-999',
    '1E400',
    '00',
    '.5',
    '0x1',
    'NaN',
    'undefined',
    '""',
    "'a'",
    '[]',
    '{}'
  ],
  ...[
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"a\\u0000@example.com"',
    '"\\x41"',
    '"\u2028"',
    '"\t"',
    '"',
    '{',
    '[1,]'
  ],
  ...[
    '{"__proto__":{"a":1}}',
    '{"constructor":{"prototype":{"a":1}}}',
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"":""}'
  ],
  ...['9007199254740993', '65536', '54321.0', '5.4321e4', '1.5', '"54321"', '[54321]', '99999999999999999999999999'],
  ...[
    '["::"]',
    '["0.0.0.0","::"]',
    '["127.0.0.1"]',
    '["::ffff:1.2.3.4"]',
    '["fe80::1%eth0"]',
    '["1.2.3"]',
    '["::1/64"]'
  ],
  ...[
    '['.repeat(30) + ']'.repeat(30),
    '['.repeat(7000) + ']'.repeat(7000),
    `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`
  ],
  ...[
    `"${'a'.repeat(15_000)}"`,
    `[${'1,'.repeat(7000)}1]`,
    `["${'10.0.0.1","'.repeat(40)}10.0.0.1"]`,
    '9'.repeat(5000)
  ],
  ...[`{"a":"${'a'.repeat(4086)}"}`, `{"a":"${'a'.repeat(4089)}"}`, `"${'a'.repeat(250)}@example.com"`],
  ...SQL.map((injection) => JSON.stringify(injection)),
  ...SQL.map((injection) => JSON.stringify(`${injection}@example.com`)),
  ...SQL.map((injection) => JSON.stringify({ [injection]: injection }))
]
const pem = fc.oneof(
  pemLike(alice.certificate),
  ...[stranger, carol, alice].map(({ certificate }) => fc.constant(certificate)),
  ...['p-256', 'rsa-4096', 'rsa-1024', 'rsa-2048-sha1', 'dsa-2048', 'no-common-name'].map((name) =>
    fc.constant(fixture(`${name}.crt`))
  ),
  fc.constantFrom(
    alice.privateKey,
    fixture('request.csr'),
    stranger.certificate.repeat(2),
    stranger.certificate.repeat(20)
  )
)
const json = fc.oneof(
  fc.constantFrom(...NASTY_JSON),
  fc
    .oneof(anything, pem, text, fc.ipV4Extended(), fc.array(fc.oneof(fc.ipV4(), fc.ipV6())))
    .map((value) => JSON.stringify(value))
)

const NAMES = ['capabilities', 'ttl', 'email', 'certificate', 'port', '__proto__', 'constructor', 'a'].map(
  (name) => `"${name}"`
)
/** What comes before and after a body. */
const AROUND = [
  ...[
    ['[', ']'],
    ['', '{}'],
    [latin1('\ufeff'), ''],
    [' '.repeat(9000), ''],
    ['/**/', ''],
    ['', '\0'],
    ['{"a":', '}']
  ]
] as [string, string][]

const HOST: Header = ['Host', 'localhost']
const JSON_HEADERS: Header[] = [['Content-Type', 'application/json']]
const post = (path: string, body: object): Message => ({
  ...get(path),
  method: 'POST',
  headers: JSON_HEADERS,
  members: Object.entries(body).map(([name, value]) => [JSON.stringify(name), JSON.stringify(value)])
})
const get = (path: string, query = ''): Message => {
  return { method: 'GET', path, query, version: 'HTTP/1.1', headers: [], body: '' }
}

const valid = fc.oneof(
  fc
    .record({ email: fc.oneof(fc.emailAddress(), fc.constantFrom(alice.email, carol.email)), certificate: pem })
    .map((body) => post('/api/relay/register', body)),
  // Peers that left come back, or all that follows would be a 401.
  fc.constantFrom(alice.email, alice.email, stranger.email).map((email) => post('/api/relay/register', { email })),
  fc
    .oneof(fc.constantFrom(stranger.certificate, carol.certificate), pem)
    .map((certificate) => post('/api/relay/certificate', { certificate })),
  fc.constantFrom({}, {}, { ttl: 60 }).map((ttl) => post('/api/relay/broadcast/ready', { ...ANNOUNCEMENT, ...ttl })),
  fc.constant(post('/api/relay/broadcast/ready', ANNOUNCEMENT)),
  fc
    .constantFrom('/register', '/certificate', '/certificate', '/broadcast/ready', '/broadcast/ready')
    .map((path) => ({ ...get(`/api/relay${path}`), method: 'DELETE' })),
  fc
    .constantFrom(
      ...[alice.email, carol.email, 'nobody@example.com'].map((email) => `?email=${email}`),
      ...[alice, stranger].map(({ fingerprint }) => `?fingerprint=${fingerprint}`)
    )
    .map((query) => get('/api/relay/broadcast/lookup', query)),
  fc
    .constantFrom('/certificate', '/broadcast/ready', '/broadcast/list', '/broadcast/list', '/broadcast/events')
    .map((path) => get(`/api/relay${path}`)),
  fc.constantFrom('/livez', '/readyz').map((path) => get(path))
)

const METHODS = [
  ...[
    'GET',
    'POST',
    'HEAD',
    'PUT',
    'DELETE',
    'PATCH',
    'OPTIONS',
    'TRACE',
    'CONNECT',
    'PROPFIND',
    'PRI',
    'M-SEARCH',
    'QUERY'
  ],
  ...['get', 'BREW', 'G\0T', '', 'X'.repeat(9000)]
]
const VERSIONS = [
  'HTTP/1.0',
  'HTTP/0.9',
  'HTTP/1.2',
  'HTTP/2.0',
  'HTTP/9.9',
  'http/1.1',
  'HTTP/1.1 ',
  'HTTP/11',
  'ICY',
  ''
]

/** Stands for somebody else's certificate in a forged header, which must not work behind the edge. */
const FORGED = '<forged>'

const HEADERS: Header[] = [
  ...['close', 'keep-alive', 'upgrade', 'X-SSL-Cert', 'close, x-ssl-cert', 'content-length', 'te'].map((value) => [
    'Connection',
    value
  ]),
  ...['X-SSL-Cert', 'x-ssl-cert', 'X_SSL_Cert', 'X-SSL-Cert ', ' X-SSL-Cert'].map((name) => [name, FORGED]),
  ...[
    'text/plain',
    'application/json; charset=latin1',
    'application/JSON',
    'application/json,a',
    'multipart/form-data',
    'a',
    '/',
    ''
  ].map((value) => ['Content-Type', value]),
  ...['gzip', 'br', 'identity', 'chunked'].map((value) => ['Content-Encoding', value]),
  ...['100-continue', 'foo', '100-continue, foo'].map((value) => ['Expect', value]),
  ...['h2c', 'websocket', 'TLS/1.0'].map((value) => ['Upgrade', value]),
  ...['a', '', 'a:b', '[::1]', 'a b', '127.0.0.1:99999', '../..', 'a'.repeat(300)].map((value) => ['Host', value]),
  ...['1.2.3.4', '::', '1.2.3.4, 5.6.7.8', 'unknown', 'a'.repeat(2000), '127.0.0.1%eth0'].map((value) => [
    'X-Forwarded-For',
    value
  ]),
  ...[
    ['X-Forwarded-Host', '\0'],
    ['X-Forwarded-Proto', 'https'],
    ['Forwarded', 'for=1.2.3.4'],
    ['X-Real-IP', '1.2.3.4']
  ],
  ...[
    ['Accept', 'text/html'],
    ['Accept-Encoding', 'gzip'],
    ['Range', 'bytes=0-1,2-3'],
    ['If-None-Match', '*'],
    ['TE', 'trailers']
  ],
  ...[
    ['X-HTTP-Method-Override', 'DELETE'],
    ['Authorization', 'Basic Og=='],
    ['Cookie', 'a=b'],
    ['Trailer', 'X-SSL-Cert'],
    ['Sec-WebSocket-Key', 'a']
  ],
  ...[
    ['Keep-Alive', 'timeout=99999'],
    ['Accept-Version', '9'],
    ['HTTP2-Settings', 'a'],
    ['__proto__', 'a'],
    ['constructor', 'a']
  ]
] as Header[]

/** Lengths that contradict the body, or are none at all. */
const framing = fc.oneof(
  fc
    .constantFrom(
      '0',
      '1',
      '-1',
      '+5',
      '0x10',
      '5, 5',
      '5,6',
      ' ',
      'a',
      '1e1',
      '99999999999999999999',
      '17000',
      '16384'
    )
    .map((value) => [['Content-Length', value]]),
  fc
    .constantFrom('chunked', 'gzip', 'chunked, chunked', 'identity', 'xchunked', '"chunked"', 'gzip, chunked')
    .map((value) => [['Transfer-Encoding', value]]),
  fc.constantFrom('chunked', 'identity').map((value) => [
    ['Content-Length', '5'],
    ['Transfer-Encoding', value]
  ]),
  fc.constant([
    ['Content-Length', '5'],
    ['Content-Length', '6']
  ]),
  fc.constant([])
) as fc.Arbitrary<Header[]>

const CHUNKED: Header[] = [['Transfer-Encoding', 'chunked']]
const chunkSize = fc.constantFrom(
  '0',
  '1',
  '-1',
  'g',
  'ffffffffffffffff1',
  '5;a=b',
  `5;${'a'.repeat(9000)}`,
  '4000',
  '05',
  ' 5',
  ''
)

const mutations = [
  mutation(2, fc.oneof(fc.constantFrom(...METHODS), nasty), (method) => ({ method })),
  mutation(1, fc.constantFrom(...VERSIONS), (version) => ({ version })),
  mutation(3, edits(nasty), (edit, { path }) => ({ path: edit(path) })),
  mutation(3, edits(nasty), (edit, { query }) => ({ query: edit(query) })),
  mutation(4, fc.oneof(text, fc.constantFrom(...SQL)), (email) => ({
    query: `?email=${encodeURIComponent(email.toWellFormed())}`
  })),
  mutation(
    3,
    fc.tuple(fc.constantFrom('?email=', '?email[]=', '?email%5Ba%5D=', '&email=', '?a@b.c&__proto__='), nasty),
    (parts, { query }) => ({ query: query + parts.join('') })
  ),

  mutation(5, fc.tuple(fc.nat(9), fc.constantFrom(...HEADERS)), ([n, header], { headers }) => ({
    headers: headers.toSpliced(n, 0, header)
  })),
  mutation(2, fc.tuple(fc.nat(9), nasty, nasty), ([n, ...header], { headers }) => ({
    headers: headers.toSpliced(n, 0, header)
  })),
  mutation(2, fc.tuple(fc.nat(), edits(nasty)), ([n, edit], { headers }) => ({
    headers: changed(headers, n, ([name, value]) => [[name, edit(value)]])
  })),
  mutation(1, fc.nat(), (n, { headers }) => ({ headers: changed(headers, n, () => []) })),
  mutation(1, fc.nat(), (n, { headers }) => ({ headers: changed(headers, n, (header) => [header, header]) })),
  mutation(1, fc.tuple(fc.nat(300), nasty), ([count, value], { headers }) => ({
    headers: [...headers, ...Array.from({ length: count }, (_, n) => [`x-${n}`, value] as Header)]
  })),

  mutation(1, framing, (framing) => ({ framing })),
  mutation(1, fc.constant(CHUNKED), (framing, message) => {
    const body = bodyOf(message)
    return { framing, ...raw(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`) }
  }),
  mutation(1, fc.array(fc.tuple(chunkSize, bytes), { maxLength: 4 }), (chunks) => ({
    framing: CHUNKED,
    ...raw(`${chunks.map((chunk) => `${chunk.join('\r\n')}\r\n`).join('')}0\r\n\r\n`)
  })),

  mutation(12, fc.tuple(fc.nat(), json), ([n, value], { members }) => ({
    members: members && changed(members, n, ([name]) => [[name, value]])
  })),
  mutation(2, fc.tuple(fc.nat(), json), ([n, name], { members }) => ({
    members: members && changed(members, n, ([, value]) => [[name, value]])
  })),
  mutation(4, fc.tuple(fc.constantFrom(...NAMES), json), (member, { members }) => ({
    members: members && [...members, member]
  })),
  mutation(1, fc.nat(), (n, { members }) => ({ members: members && changed(members, n, () => []) })),
  mutation(2, json, (value) => raw(latin1(value))),
  mutation(2, fc.constantFrom(...AROUND), ([before, after], message) => raw(before + bodyOf(message) + after)),
  mutation(4, edits(nasty), (edit, message) => raw(edit(bodyOf(message))))
]

/** What is done to the whole request in the end. */
const lastly = fc.oneof(
  { weight: 40, arbitrary: fc.constant((whole: string) => whole) },
  { weight: 3, arbitrary: edits(nasty) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('\r\n', '\n', '\0', '\x16\x03\x01\x02', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      .map((start) => (whole: string) => start + whole)
  },
  { weight: 1, arbitrary: fc.nat().map((n) => (whole: string) => whole.slice(0, n % whole.length)) }
)

/** Mostly left as it is. */
const damaged = fc.oneof(
  { weight: 7, arbitrary: fc.constant((header: string) => header) },
  { weight: 1, arbitrary: edits(nasty) }
)

const pair = fc.tuple(requestTo('api'), requestTo('edge'))

function requestTo(target: Target): fc.Arbitrary<Request> {
  return fc
    .record({
      caller: fc.constantFrom<Caller>('alice', 'alice', 'alice', 'stranger', 'nobody'),
      damaged,
      message: valid,
      mutations: fc.array(fc.oneof(...mutations), { minLength: 1, maxLength: 3 }),
      lastly
    })
    .map(({ caller, damaged, message, mutations, lastly }) => {
      const mutated = mutations.reduce((message, mutate) => mutate(message), message)
      const before = target === 'api' ? edgeHeaders(caller, damaged) : [HOST]
      const forged = edgeHeader(target === 'api' ? alice : carol)['x-ssl-cert']
      const text = lastly(encoded(mutated, before).replaceAll(FORGED, forged))
      return { target, caller, bytes: Buffer.from(text, 'latin1') }
    })
}

/** As nginx writes them, except for a damaged certificate. */
function edgeHeaders(caller: Caller, damaged: (header: string) => string): Header[] {
  const peer = { alice, stranger, nobody: undefined }[caller]
  const certificate: Header[] = peer ? [['X-SSL-Cert', damaged(edgeHeader(peer)['x-ssl-cert'])]] : []
  return [...certificate, ['X-Forwarded-For', '203.0.113.9'], HOST]
}

function encoded(message: Message, before: Header[]) {
  const { method, path, query, version, headers } = message
  const body = bodyOf(message)
  const length: Header[] = body === '' ? [] : [['Content-Length', String(body.length)]]
  const lines = [...before, ...headers, ...(message.framing ?? length)].map((header) => header.join(': '))
  return `${[`${method} ${path}${query} ${version}`, ...lines].join('\r\n')}\r\n\r\n${body}`
}

function bodyOf({ members, body }: Message) {
  return members ? latin1(`{${members.map((member) => member.join(':')).join(',')}}`) : body
}

function raw(body: string) {
  return { members: undefined, body }
}

function mutation<T>(
  weight: number,
  arbitrary: fc.Arbitrary<T>,
  change: (value: T, message: Message) => Partial<Message>
): fc.WeightedArbitrary<(message: Message) => Message> {
  return { weight, arbitrary: arbitrary.map((value) => (message) => ({ ...message, ...change(value, message) })) }
}

/** The nth (counted around), changed. */
function changed<T>(list: T[], n: number, change: (item: T) => T[]) {
  return list.flatMap((item, index) => (index === n % list.length ? change(item) : [item]))
}
