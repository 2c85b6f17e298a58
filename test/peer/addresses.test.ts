import type { NetworkInterfaceInfo } from 'node:os'
import t from 'tap'
import { listenAddresses } from '../../peer/src/addresses.ts'

function info(address: string, internal = false) {
  return { address, internal } as NetworkInterfaceInfo
}

const interfaces = {
  lo: [info('127.0.0.1', true), info('::1', true)],
  eth0: [info('192.168.1.20'), info('2001:db8::20'), info('fe80::1'), info('169.254.3.4'), info('fd00::20')],
  eth1: [info('192.168.1.20'), info('10.0.0.2'), info('10.0.0.3')]
}

t.test('a peer on all interfaces announces their addresses, alternating the families', async (t) => {
  const own = ['2001:db8::20', '192.168.1.20', 'fd00::20', '10.0.0.2', '10.0.0.3']
  t.same(listenAddresses(undefined, { interfaces }), [...own, '0.0.0.0'])
  t.same(listenAddresses('::', { interfaces, observed: false }), own)
  t.same(listenAddresses('0.0.0.0', { interfaces, observed: false }), ['192.168.1.20', '10.0.0.2', '10.0.0.3'])
})

t.test('a peer on one address announces that, and one on loopback only what the tracker sees', async (t) => {
  t.same(listenAddresses('10.0.0.2'), ['10.0.0.2', '0.0.0.0'])
  t.same(listenAddresses('10.0.0.2', { observed: false }), ['10.0.0.2'])
  t.same(listenAddresses('127.0.0.1', { observed: false }), ['0.0.0.0'])
  t.same(listenAddresses('::1'), ['0.0.0.0'])
})

t.test('a peer announces at most 16 addresses', async (t) => {
  const many = { eth0: Array.from({ length: 30 }, (_, n) => info(`10.0.0.${n}`)) }
  t.equal(listenAddresses('::', { interfaces: many, observed: false }).length, 16)
  const addresses = listenAddresses('::', { interfaces: many })
  t.equal(addresses.length, 16)
  t.equal(addresses.at(-1), '0.0.0.0')
})
