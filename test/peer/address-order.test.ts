import t from 'tap'
import { inLikelyOrder } from '../../peer/src/connections/address-order.ts'
import { interfaces, MACHINES } from './network-interfaces.ts'

const own = interfaces(...(MACHINES['Linux with Docker, Podman, libvirt, LXD and VPNs']?.rows ?? []))

function order(addresses: string[], options: Parameters<typeof inLikelyOrder>[1] = { interfaces: own }) {
  return inLikelyOrder(addresses, options).map(({ address }) => address)
}

t.test('addresses are tried in the order in which they are likely to work', async (t) => {
  const likely = [
    ...['192.168.1.7', '2003:e5:1::7', '10.8.0.9'], // this machine's networks
    ...['203.0.113.7', '2a02:8108:1::7'], // everybody's
    ...['192.168.178.7', '100.70.1.2', 'fd12::7', '169.254.1.1'], // other private networks
    ...['172.17.0.7', '172.20.0.1', '192.168.122.7', '10.0.2.15', '10.207.114.9'] // bridges, here and elsewhere
  ]
  t.same(order(likely), likely, 'otherwise the order stays')
  const mixed = likely.map((_, n) => likely[(n * 5) % likely.length] as string)
  const place = (address: string) => [2, 4, 8, 13].findIndex((last) => likely.indexOf(address) <= last)
  t.same(order(mixed).map(place), likely.map(place))
  t.same(order(['203.0.113.7', '192.168.1.7', '203.0.113.7']), ['192.168.1.7', '203.0.113.7'], 'each once')
})

t.test('addresses that worked before come first, the last one before the others', async (t) => {
  const addresses = ['192.168.1.7', '203.0.113.7', '172.17.0.7', '192.168.178.7']
  const knownGood = ['172.17.0.7', '192.168.178.7', '10.9.9.9']
  t.same(order(addresses, { interfaces: own, knownGood }), [...knownGood.slice(0, 2), '192.168.1.7', '203.0.113.7'])
})

t.test('a container finds its neighbours, where a company may have its own network', async (t) => {
  const container = interfaces(['eth0', '02:42:ac:11:00:02', '172.17.0.2/16'])
  t.same(order(['203.0.113.7', '172.17.0.3'], { interfaces: container }), ['172.17.0.3', '203.0.113.7'])
})

t.test('only a public address tells whether an impostor is there', async (t) => {
  const telling = inLikelyOrder(['192.168.1.7', '203.0.113.7', '2003:e5:1::7', '10.8.0.9', '172.17.0.7', 'fd12::7'], {
    interfaces: own
  })
  const found = telling.filter(({ isTelling }) => isTelling).map(({ address }) => address)
  t.same(found, ['2003:e5:1::7', '203.0.113.7'], 'many networks have the same private addresses')
})

t.test('odd interfaces are ignored', async (t) => {
  const odd = { a: undefined, b: [{ address: '10.0.0.1', cidr: null, mac: '', internal: false }] } as never
  t.same(order(['10.0.0.2', '203.0.113.7'], { interfaces: odd }), ['203.0.113.7', '10.0.0.2'])
  t.equal(inLikelyOrder(['203.0.113.7']).length, 1)
})
