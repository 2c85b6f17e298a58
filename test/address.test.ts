import t from 'tap'
import { announcedAddresses, canonicalAddress } from '../src/address.ts'

t.test('private, link-local and public addresses are fine, and come back in canonical form', async (t) => {
  const given = ['10.0.0.1', '172.16.5.4', '192.168.1.20', '169.254.7.7', '203.0.113.9', 'FD00:0::5', 'fe80::1']
  t.same(announcedAddresses([...given, '2001:DB8:0:0:0:0:0:1', '::ffff:198.51.100.7'], '127.0.0.1'), [
    ...given.slice(0, 5),
    ...['fd00::5', 'fe80::1', '2001:db8::1', '198.51.100.7']
  ])
})

t.test('what nobody else can reach, and what is no literal, is refused', async (t) => {
  for (const address of [
    ...['127.0.0.1', '127.255.0.3', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1'],
    ...['224.0.0.1', '239.1.2.3', 'ff02::1', 'FF05::1:3', '::ffff:224.0.0.1', '255.255.255.255'],
    ...['', ' ', 'localhost', 'example.com', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', '1.2.3.4 ', '0x7f.1'],
    ...['1.2.3.4:80', '1.2.3.0/24', '[::2]', 'fe80::1%eth0', ':::', '2001:db8', '1::2::3', '2130706433', '::2\n']
  ]) {
    t.throws(() => announcedAddresses([address], '10.0.0.1'), { statusCode: 400, code: 'invalid_addresses' }, address)
  }
})

t.test('the same address twice is refused, in any spelling', async (t) => {
  const error = { code: 'invalid_addresses', message: 'addresses must be distinct' }
  t.throws(() => announcedAddresses(['10.0.0.1', '10.0.0.1'], '10.0.0.1'), error)
  t.throws(() => announcedAddresses(['2001:db8::1', '2001:DB8::0:1'], '10.0.0.1'), error)
  t.throws(() => announcedAddresses(['1.2.3.4', '::ffff:1.2.3.4'], '10.0.0.1'), error)
})

t.test('0.0.0.0 and :: become the address that the caller is seen at', async (t) => {
  t.same(announcedAddresses(['0.0.0.0'], '203.0.113.9'), ['203.0.113.9'])
  t.same(announcedAddresses(['0:0:0:0:0:0:0:0', '10.0.0.1', '0.0.0.0'], '203.0.113.9'), ['203.0.113.9', '10.0.0.1'])
  const unknown = { code: 'invalid_addresses', message: /seen at is unknown/ }
  t.throws(() => announcedAddresses(['0.0.0.0'], undefined), unknown, 'an edge may not tell')
  t.same(announcedAddresses(['10.0.0.1'], undefined), ['10.0.0.1'])
  t.same(announcedAddresses(['203.0.113.9', '0.0.0.0'], '203.0.113.9'), ['203.0.113.9'], 'and are not given twice')
})

t.test('an address has one spelling', async (t) => {
  t.equal(canonicalAddress('2001:DB8:0::9'), '2001:db8::9')
  t.equal(canonicalAddress('::ffff:203.0.113.9'), '203.0.113.9')
  for (const none of ['unknown', '', 'fe80::1%eth0', '203.0.113.9:80']) t.equal(canonicalAddress(none), undefined)
})
