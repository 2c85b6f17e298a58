import { networkInterfaces } from 'node:os'
import t from 'tap'
import { listenAddresses } from '../../peer/src/presence/listen-addresses.ts'
import { validateAddresses } from '../../src/presence/addresses.ts'
import { interfaces, MACHINES } from './network-interfaces.ts'

for (const [machine, { rows, announced }] of Object.entries(MACHINES)) {
  t.test(`what others reach is announced: ${machine}`, async (t) => {
    t.same(listenAddresses('::', { interfaces: interfaces(...rows), observed: false }), announced)
    t.same(validateAddresses(announced, undefined), announced, 'and the tracker accepts it')
  })
}

t.test('a peer on all interfaces announces their addresses, alternating the families', async (t) => {
  const own = interfaces(
    ['eth0', '', '192.168.1.20/24', '2001:db8::20/64', 'fe80::1/64', '169.254.3.4/16', 'fd00::20/64'],
    ['eth1', '', '192.168.1.20/24', '10.0.0.2/8', '10.0.0.3/8']
  )
  const all = ['2001:db8::20', '192.168.1.20', 'fd00::20', '10.0.0.2', '10.0.0.3']
  t.same(listenAddresses(undefined, { interfaces: own }), [...all, '0.0.0.0'])
  t.same(listenAddresses('0.0.0.0', { interfaces: own, observed: false }), ['192.168.1.20', '10.0.0.2', '10.0.0.3'])
  t.same(listenAddresses(), listenAddresses('::', { interfaces: networkInterfaces() }))
  t.same(listenAddresses('::', { interfaces: { eth0: undefined } }), ['0.0.0.0'])
})

t.test('a peer on one address announces that, and one on loopback only what the tracker sees', async (t) => {
  t.same(listenAddresses('10.0.0.2'), ['10.0.0.2', '0.0.0.0'])
  t.same(listenAddresses('10.0.0.2', { observed: false }), ['10.0.0.2'])
  t.same(listenAddresses('127.0.0.1', { observed: false }), ['0.0.0.0'])
  t.same(listenAddresses('::1'), ['0.0.0.0'])
})

t.test('a peer announces at most 16 addresses', async (t) => {
  const many = interfaces(['eth0', '', ...Array.from({ length: 30 }, (_, n) => `10.0.0.${n}/8`)])
  t.equal(listenAddresses('::', { interfaces: many, observed: false }).length, 16)
  const addresses = listenAddresses('::', { interfaces: many })
  t.equal(addresses.length, 16)
  t.equal(addresses.at(-1), '0.0.0.0')
})
