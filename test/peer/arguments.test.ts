import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import * as check from '../../peer/src/arguments.ts'
import { type Broadcast, RelayPeer } from '../../peer/src/index.ts'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { Email } from '../../src/http/shared-schemas.ts'
import { parseStrictJson } from '../../src/http/strict-json.ts'
import { validateAddresses } from '../../src/presence/addresses.ts'
import { anything, edits } from '../support/arbitraries.ts'

const ajv = new Ajv()
addFormats.default(ajv)
const isEmail = ajv.compile(Email)

const EMAIL = 'alice@example.com'
const FINGERPRINT = 'f'.repeat(43)
const INVALID = { name: 'PeerError', code: 'invalid_argument' }
/** No options of any call. */
const NO_OPTIONS = [null, 5, 'x', { unknown: 1 }, { signal: 'x' }, { signal: null }] as never[]

function isAccepted(act: () => unknown): boolean {
  try {
    act()
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'invalid_argument') return false
    throw error
  }
}

async function openPeer(t: Test) {
  const peer = await RelayPeer.open({ dir: `${t.testdir({})}/alice`, tracker: 'https://127.0.0.1:1', email: EMAIL })
  t.teardown(() => peer.close())
  return peer
}
t.test('every call rejects wrong arguments at once', async (t) => {
  const peer = await openPeer(t)
  const broadcast = { email: EMAIL, fingerprint: FINGERPRINT, port: 1, addresses: ['10.0.0.1'] } as Broadcast
  const calls: Record<string, (wrong: never) => Promise<unknown>> = {
    register: (wrong) => peer.register(wrong),
    withdraw: (wrong) => peer.withdraw(wrong),
    own: (wrong) => peer.own(wrong),
    list: (wrong) => peer.list(wrong),
    rotate: (wrong) => peer.rotate(wrong),
    forget: (wrong) => peer.forget(wrong),
    watch: (wrong) => peer.watch(wrong).next(),
    lookup: (wrong) => peer.lookup(EMAIL, wrong),
    connect: (wrong) => peer.connect(broadcast, wrong),
    update: (wrong) => peer.update(wrong),
    announce: (wrong) => peer.announce(wrong),
    listen: (wrong) => peer.listen(wrong),
    open: (wrong) => RelayPeer.open(wrong)
  }
  for (const [name, call] of Object.entries(calls)) {
    for (const wrong of NO_OPTIONS) await t.rejects(call(wrong), INVALID, `${name} ${JSON.stringify(wrong)}`)
  }
  const open = { dir: 'x', tracker: 'https://relay.example.com', email: EMAIL }
  const wrong: Record<string, [(wrong: never) => Promise<unknown>, unknown[]]> = {
    open: [
      (wrong) => RelayPeer.open({ ...open, ...(wrong as object) }),
      [
        ...[{ dir: '' }, { dir: 5 }, { dir: 'a\0b' }, { email: undefined }, { tracker: undefined }, { email: 'x' }],
        ...[{ tracker: 'http://x.example' }, { ca: 'x' }, { ca: null }, { ca: Buffer.from('x') }],
        ...[{ logger: null }, { logger: {} }, { logger: { info() {} } }]
      ]
    ],
    listen: [
      (wrong) => peer.listen(wrong),
      [{ port: -1 }, { port: '1' }, { port: 65_536 }, { host: 'localhost' }, { host: 5 }, { accept: true }]
    ],
    announce: [
      (wrong) => peer.announce({ port: 1, ...(wrong as object) }),
      [
        ...[{ port: 0 }, { port: undefined }, { port: 1.5 }, { host: 'fe80::1%eth0' }, { observed: 'yes' }, { ttl: 0 }],
        ...[
          { addresses: [] },
          { addresses: 'x' },
          { addresses: ['127.0.0.1'] },
          { addresses: ['localhost'] },
          { addresses: ['fe80::1%eth0'] },
          { addresses: [5] },
          { addresses: Array(17).fill('::') }
        ],
        ...[{ capabilities: null }, { capabilities: { n: 1n } }, { addresses: () => [] }]
      ]
    ],
    update: [(wrong) => peer.update(wrong), [{}, { port: 0 }, { addresses: [] }, { capabilities: 5 }, { ttl: '1' }]],
    lookup: [
      (wrong) => peer.lookup(wrong),
      [undefined, null, 5, '', 'x', {}, { email: 5 }, { fingerprint: 'x' }, { email: EMAIL, fingerprint: FINGERPRINT }]
    ],
    connect: [
      (wrong) => peer.connect(wrong),
      [
        undefined,
        null,
        5,
        'x',
        {},
        ...['email', 'fingerprint', 'port', 'addresses'].map((k) => ({ ...broadcast, [k]: 0 }))
      ]
    ],
    timeout: [(timeout) => peer.connect(EMAIL, { timeout }), [0, -1, 1.5, Number.NaN, Infinity, '1', null]],
    only: [(only) => peer.watch({ only }).next(), [null, EMAIL, ['x'], [5]]]
  }
  for (const [name, [call, values]] of Object.entries(wrong)) {
    for (const value of values) await t.rejects(call(value as never), INVALID, `${name} ${String(value)}`)
  }
})

t.test('calls that answer at once throw', async (t) => {
  const peer = await openPeer(t)
  for (const dir of ['', 5, null] as string[]) {
    t.throws(() => RelayPeer.exists(dir), INVALID)
    t.throws(() => RelayPeer.discard(dir), INVALID)
  }
  t.throws(() => peer.setCa('x'), INVALID)
  t.throws(() => peer.trust('x', FINGERPRINT), INVALID)
  t.throws(() => peer.trust(EMAIL, 'x'), INVALID)
  t.throws(() => peer.forgetPeer(null as never), INVALID)
})

t.test('an e-mail address is accepted if the tracker accepts it', async (t) => {
  const like = edits(fc.string({ unit: fc.constantFrom(...`.@-+_a1 é"'~\n`), maxLength: 70 })).map((edit) =>
    edit(EMAIL)
  )
  fc.assert(
    fc.property(fc.oneof(like, fc.emailAddress(), fc.string()), (email) => {
      t.equal(
        isAccepted(() => check.checkEmail(email)),
        isEmail(email),
        email
      )
    })
  )
  t.equal(check.checkEmail('Alice@Example.com'), EMAIL)
})

t.test('addresses are refused only if the tracker refuses them', async (t) => {
  const isValid = (addresses: string[]) => {
    try {
      return validateAddresses(addresses, '192.0.2.9').length > 0
    } catch {
      return false
    }
  }
  const literals = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.constantFrom('::', '0.0.0.0', '::1', 'fe80::1%a')
  )
  fc.assert(
    fc.property(fc.uniqueArray(literals, { maxLength: 17 }), (addresses) => {
      if (addresses.length > 0 && addresses.length <= 16 && isValid(addresses)) check.checkAddresses(addresses)
    })
  )
  t.same(check.checkAddresses(['2001:DB8:0::1', '2001:db8::1', '::ffff:10.0.0.1', '10.0.0.1']), [
    '2001:db8::1',
    '10.0.0.1'
  ])
  t.throws(() => check.checkAddresses(['10.0.0.1', '::ffff:127.0.0.1']), { ...INVALID, message: /127\.0\.0\.1/ })
})

t.test('capabilities are accepted if the tracker accepts them', async (t) => {
  const isStored = (value: unknown) => {
    try {
      return (
        JSON.stringify(value).length <= 4096 && parseStrictJson(Buffer.from(JSON.stringify({ value }))) !== undefined
      )
    } catch {
      return false
    }
  }
  fc.assert(
    fc.property(fc.dictionary(fc.string(), anything), (value) => {
      t.equal(
        isAccepted(() => check.checkCapabilities(value)),
        isStored(value)
      )
    })
  )
  let deep: object = {}
  for (let level = 1; level < 32; level++) deep = { deep }
  t.same(check.checkCapabilities(deep), deep)
  const circular: Record<string, unknown> = {}
  circular.self = circular
  const wrong = [
    { deep },
    circular,
    [],
    'x',
    new Date(),
    () => {},
    { x: '\ud800' },
    { '\ud800': 1 },
    { x: 'x'.repeat(4090) }
  ]
  for (const value of wrong) t.throws(() => check.checkCapabilities(value), INVALID)
  t.throws(() => check.checkCapabilities(JSON.parse('{"__proto__": 1}')), INVALID)
  t.same(check.checkCapabilities({ left: undefined, x: 'x'.repeat(4088) }), { x: 'x'.repeat(4088) })
})

t.test('a tracker is a host and a port', async (t) => {
  const accepted = {
    'https://relay.example.com/': 'https://relay.example.com',
    ' HTTPS://Relay.Example.com:443\n': 'https://relay.example.com',
    'https://[2001:DB8::1]:8443': 'https://[2001:db8::1]:8443',
    'https://bücher.example': 'https://xn--bcher-kva.example'
  }
  for (const [url, tracker] of Object.entries(accepted)) t.equal(check.checkTracker(url), tracker)
  const refused = ['/relay', '/?', '/?a=1', '/#a', '/relay/'].map((rest) => `https://relay.example.com${rest}`)
  for (const url of refused)
    t.throws(() => check.checkTracker(url), { ...INVALID, message: /write https:\/\/relay.example.com$/ })
  t.throws(() => check.checkTracker('https://user:secret@relay.example.com'), {
    message: /: write https:\/\/relay.example.com$/
  })
  const nonsense = [
    'http://relay.example.com',
    'relay.example.com',
    'relay.example.com:443',
    '',
    'https://',
    'https://a b',
    5,
    null
  ]
  for (const url of nonsense) t.throws(() => check.checkTracker(url), { ...INVALID, message: /begins with https/ })
})

t.test('a certificate authority is text in PEM', async (t) => {
  const { certificate } = await createSelfSigned({ commonName: 'ca' })
  t.equal(check.checkCa(certificate + certificate), certificate + certificate)
  t.equal(check.checkCa(undefined), undefined)
  t.throws(() => check.checkCa(Buffer.from(certificate)), INVALID)
})
