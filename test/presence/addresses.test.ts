import t from 'tap'
import { validateAddresses } from '../../src/presence/addresses.ts'
import { type ApiError, statusOf } from '../../src/runtime/error-catalogue.ts'

const accept = (address: string) => validateAddresses([address], '203.0.113.9')

t.test('public, private, shared, link-local and documentation addresses are accepted in canonical form', async (t) => {
  for (const address of [
    ...['8.8.8.8', '2606:4700::1111', '192.88.99.1', '128.0.0.1', '223.255.255.255', '1.0.0.0', '200::1'],
    ...['10.0.0.1', '172.16.5.4', '192.168.1.20', '100.64.0.1', '169.254.7.7', '198.18.0.1', '192.0.0.1'],
    ...['fd00::5', 'fe80::1', '2001:2::1', '5f00::1'],
    ...['192.0.2.1', '198.51.100.7', '203.0.113.9', '2001:db8::1', '3fff::1'],
    ...[
      '192.0.0.9',
      '192.0.0.10',
      '2001:1::1',
      '2001:3::1',
      '2001:4:112::1',
      '2001:20::1',
      '2001:30::1',
      '2001:200::1'
    ],
    ...['100:0:0:2::1', '::1:0:0:0', 'ec00::1']
  ]) {
    t.same(accept(address), [address])
  }
  t.same(validateAddresses(['FD00:0::5', '2001:DB8:0:0:0:0:0:1', '::ffff:198.51.100.7', '::FFFF:808:808'], undefined), [
    ...['fd00::5', '2001:db8::1', '198.51.100.7', '8.8.8.8']
  ])
})

t.test('an address that nobody else can reach is refused with the reason', async (t) => {
  const refused: Record<string, string[]> = {
    'is a loopback address': [
      '127.0.0.1',
      '127.255.0.3',
      '::1',
      '0:0:0:0:0:0:0:1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1'
    ],
    'is a multicast address': ['224.0.0.1', '239.1.2.3', 'ff02::1', 'FF05::1:3', '::ffff:224.0.0.1'],
    'is an address in 0.0.0.0/8': ['0.0.0.1', '0.255.255.255', '::ffff:0.0.0.1'],
    'is a reserved or broadcast address': ['240.0.0.1', '255.255.255.254', '255.255.255.255'],
    'is reserved for protocols': ['192.0.0.8', '192.0.0.170', '192.0.0.255', '2001:1::4', '2001:2:1::', '2001:10::1'],
    'is a discard-only or dummy address': ['100::', '100::ffff', '100:0:0:1::1'],
    'is an IPv4 address in an obsolete form': [
      '::2',
      '::8.8.8.8',
      '::127.0.0.1',
      '::ffff:0:127.0.0.1',
      '::ffff:0:8.8.8.8'
    ]
  }
  for (const [flaw, addresses] of Object.entries(refused)) {
    for (const address of addresses) {
      const error = t.throws(() => accept(address), {
        code: 'invalid_addresses',
        message: `addresses must be reachable by others; "${address}" ${flaw}`
      })
      t.equal(statusOf(error as ApiError), 400)
    }
  }
})

t.test('an embedded IPv4 address is judged by the same table', async (t) => {
  const inside: Record<string, (address: string) => string> = {
    NAT64: (address) => `64:ff9b::${address}`,
    '6to4': (address) => `2002:${hex(address)}::1`,
    'a server of Teredo': (address) => `2001:0:${hex(address)}:8000:63bf:3fff:fdd2`,
    'a client of Teredo': (address) => `2001:0:4136:e378:8000:63bf:${hex(address, 0xff)}`
  }
  for (const [what, carry] of Object.entries(inside)) {
    for (const address of ['8.8.8.8', '192.0.2.33']) t.equal(accept(carry(address)).length, 1, `${what}: ${address}`)
    for (const [address, flaw] of [
      ['127.0.0.1', 'is a loopback address'],
      ['0.0.0.0', 'is an address in 0.0.0.0/8'],
      ['224.0.0.1', 'is a multicast address'],
      ['255.255.255.255', 'is a reserved or broadcast address'],
      ['10.0.0.1', 'is a private network address'],
      ['100.64.0.1', 'is a private network address']
    ] as const) {
      const message = `addresses must be reachable by others; "${carry(address)}" contains ${address}, which ${flaw}`
      t.throws(() => accept(carry(address)), { code: 'invalid_addresses', message }, `${what}: ${address}`)
    }
  }
  t.same(accept('64:ff9b:1::10.0.0.1'), ['64:ff9b:1::a00:1'], 'local-use NAT64 reaches its own network')
  t.throws(() => accept('64:ff9b:1::127.0.0.1'), { message: /contains 127\.0\.0\.1, which is a loopback address/ })
})

t.test('text that is not an address is refused, and quoted shortened and without control characters', async (t) => {
  for (const address of [
    ...['', ' ', 'localhost', 'example.com', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', '1.2.3.4 ', '0x7f.1'],
    ...['1.2.3.4:80', '1.2.3.0/24', '[::2]', 'fe80::1%eth0', ':::', '2001:db8', '1::2::3', '2130706433']
  ]) {
    const message = `addresses must be IPv4 or IPv6 literals, without a port or zone id; "${address}" is not`
    t.equal(statusOf(t.throws(() => accept(address), { code: 'invalid_addresses', message }) as ApiError), 400)
  }
  t.throws(() => accept('\u001b[31m\u202e::2\n'), { message: /; "\uFFFD\[31m\uFFFD::2\uFFFD" is not$/ })
  t.throws(() => accept('x'.repeat(10_000)), { message: new RegExp(`; "${'x'.repeat(64)}…" is not$`) })
  t.throws(() => accept(`${'x'.repeat(63)}😀`), { message: /x\uFFFD…" is not$/ })
})

t.test('a repeated address is refused in any spelling', async (t) => {
  for (const [first, second] of [
    ['10.0.0.1', '10.0.0.1'],
    ['2001:db8::1', '2001:DB8::0:1'],
    ['1.2.3.4', '::ffff:1.2.3.4']
  ] as const) {
    const message = `addresses must be distinct; "${second}" is listed twice`
    t.throws(() => validateAddresses([first, second], '10.0.0.1'), { code: 'invalid_addresses', message })
  }
})

t.test('0.0.0.0 and :: become the address from which the caller comes', async (t) => {
  t.same(validateAddresses(['0.0.0.0'], '203.0.113.9'), ['203.0.113.9'])
  t.same(validateAddresses(['0:0:0:0:0:0:0:0', '10.0.0.1', '0.0.0.0'], '203.0.113.9'), ['203.0.113.9', '10.0.0.1'])
  t.same(validateAddresses(['203.0.113.9', '0.0.0.0'], '203.0.113.9'), ['203.0.113.9'], 'and are listed once')
})

t.test('0.0.0.0 and :: never become an address that nobody can reach', async (t) => {
  for (const [observed, flaw] of [
    [undefined, 'which is unknown'], // as with an edge that does not say
    ['127.0.0.1', '127.0.0.1, which is a loopback address'],
    ['127.8.0.3', '127.8.0.3, which is a loopback address'],
    ['::1', '::1, which is a loopback address'],
    ['fe80::7', 'fe80::7, which needs a zone id'],
    ['0.0.0.0', '0.0.0.0, which is an address in 0.0.0.0/8'],
    ['::', '::, which is an IPv4 address in an obsolete form'],
    ['224.0.0.1', '224.0.0.1, which is a multicast address'],
    ['ff02::1', 'ff02::1, which is a multicast address'],
    ['255.255.255.255', '255.255.255.255, which is a reserved or broadcast address'],
    ['64:ff9b::7f00:1', '64:ff9b::7f00:1, which contains 127.0.0.1, which is a loopback address']
  ] as const) {
    for (const address of ['0.0.0.0', '::']) {
      const message = `"${address}" means the address you are seen at, ${flaw}: list the addresses where you listen`
      t.throws(() => validateAddresses([address], observed), { code: 'invalid_addresses', message })
      t.throws(() => validateAddresses([address, address === '::' ? '0.0.0.0' : '::'], observed), { message })
      t.same(validateAddresses([address, '10.0.0.1'], observed), ['10.0.0.1'], 'it is left out beside others')
    }
    t.same(validateAddresses(['10.0.0.1'], observed), ['10.0.0.1'])
  }
})

/** The two groups of an IPv4 address. */
function hex(address: string, mask = 0) {
  const [a, b, c, d] = address.split('.').map((byte) => Number(byte) ^ mask) as [number, number, number, number]
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}
