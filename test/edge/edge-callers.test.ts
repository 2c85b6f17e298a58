import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { hostOfContainers } from '../support/edge.ts'
import {
  callFrom,
  type EdgeContainer,
  holdFrom,
  SERVER,
  startHaproxyWithAddresses,
  startNginxContainer,
  startNginxWithAddresses
} from '../support/edge-container.ts'
import { eventually } from '../support/eventually.ts'
import { untilStatus } from '../support/http-client.ts'
import { createPeer } from '../support/peers.ts'

t.test('nginx counts an IPv4 address, and an IPv6 /64, as one caller', { skip: skipWithoutContainers }, async (t) => {
  const limits = { EDGE_REQUEST_RATE: '1r/m', EDGE_REQUEST_BURST: '19' }
  const nginx = await startNginxWithAddresses(t, { limits })
  const isOneCaller = async (what: string, addresses: string[], to?: string) => {
    const statuses = await callFrom(nginx, addresses, { to })
    t.same(new Set(statuses), new Set(['503', '429']), what)
    const served = statuses.filter((status) => status === '503').length
    // Each minute that passes on a slow machine allows one more.
    t.ok(served >= 20 && served < 30, `${what}: ${served} of ${statuses.length} served`)
  }
  const network = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => prefix + n.toString(16))

  await isOneCaller('200 addresses of one /64', network('fd00:1:0:1::', 200))
  t.same(await callFrom(nginx, ['fd00:1:0:2::1', 'fd00:1:0:3:ffff::1']), ['503', '503'], 'other networks')
  await isOneCaller('a /64 with a line feed in it', network('fd00:1:0:a0a:a0a::', 40))
  await isOneCaller('an IPv4 address', Array(40).fill('127.0.0.5'), '127.0.0.1')
  t.same(await callFrom(nginx, ['127.0.0.6'], { to: '127.0.0.1' }), ['503'], 'another IPv4 address')
  // A call to oneself over the link comes from the address that is called.
  await isOneCaller('a link-local address', Array(40).fill('fe80::1%lo'), '[fe80::1%lo]')
  t.same(
    await callFrom(nginx, ['fe80::2%lo'], { to: '[fe80::2%lo]' }),
    ['503'],
    'everybody on a link is in one /64, and counts by address'
  )
})

t.test('a caller over IPv6 is seen at its own address', { skip: skipWithoutContainers }, async (t) => {
  const { host, name } = await hostOfContainers()
  const api = await startApi(t, { host })
  const alice = await createPeer('alice')
  const folder = t.testdir({
    'register.json': JSON.stringify({ email: alice.email, certificate: alice.certificate }),
    'ready.json': JSON.stringify({ ...ANNOUNCEMENT, addresses: ['::', '192.168.1.20'] }),
    'alice.crt': alice.certificate,
    'alice.key': alice.privateKey
  })
  const nginx = await startNginxWithAddresses(t, {
    upstream: `${name}:${api.port}`,
    options: [`--volume=${join(folder)}:/alice:ro`]
  })
  const call = async (path: string, options: string) => {
    const curl = 'curl --globoff --silent --insecure --interface fd00:1:0:3::7'
    return JSON.parse(await nginx.run(`${curl} ${options} https://[${SERVER}]/api/relay${path}`))
  }
  const certificate = '--cert /alice/alice.crt --key /alice/alice.key'
  t.match(await call('/register', '--json @/alice/register.json'), { client_id: String })
  const announced = await call('/broadcast/ready', `${certificate} --json @/alice/ready.json`)
  t.match(announced, { observed_address: 'fd00:1:0:3::7' })
  t.match(await call('/broadcast/ready', certificate), {
    addresses: ['fd00:1:0:3::7', '192.168.1.20'],
    observed_address: 'fd00:1:0:3::7'
  })
})

t.test('nginx limits open connections, even those without a handshake', { skip: skipWithoutContainers }, async (t) => {
  const nginx = await startNginxWithAddresses(t, { limits: { EDGE_OPEN_CONNECTIONS: '3' } })
  const open = async () => {
    const socket = connect(nginx.port, '127.0.0.1').on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  /** As nginx sees it, since Docker's proxy accepts any connection. */
  const established = async () =>
    Number(await nginx.run("ss --no-header --tcp state established 'sport = 443' | wc -l"))
  const sockets = [await open(), await open(), await open()]
  await eventually(established, (count) => count === 3)
  await t.rejects(nginx.relay.list(undefined), 'one more is closed')
  t.same(await callFrom(nginx, ['fd00:1:0:4::1']), ['503'], 'other callers go on')
  for (const socket of sockets) socket.destroy()
  await untilStatus(503, () => nginx.relay.list(undefined).catch(() => undefined))

  await holdFrom(nginx, ['fd00:1:0:5::1', 'fd00:1:0:5::2', 'fd00:1:0:5::3'])
  t.same(
    await callFrom(nginx, ['fd00:1:0:5::4', 'fd00:1:0:6::4']),
    ['000', '503'],
    'of one /64 they are counted together'
  )
})

t.test('nginx starts on a kernel without IPv6', { skip: skipWithoutContainers }, async (t) => {
  const AF_INET6 = 10
  const EAFNOSUPPORT = 97
  const profile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      {
        names: ['socket'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: EAFNOSUPPORT,
        args: [{ index: 0, value: AF_INET6, op: 'SCMP_CMP_EQ' }]
      }
    ]
  }
  const folder = t.testdir({ 'no-ipv6.json': JSON.stringify(profile) })
  const { relay, run } = await startNginxContainer(t, {
    options: [`--security-opt=seccomp=${folder}/no-ipv6.json`]
  })
  t.match(await relay.list(undefined), { status: 503 }, 'nginx starts')
  t.match(await run("ss --no-header --listening --tcp 'sport = 443'"), /^LISTEN[^\n]*0\.0\.0\.0:443[^\n]*$/)
})

t.test('nginx fits its workers to the memory of its container', { skip: skipWithoutContainers }, async (t) => {
  const memory = 640 * 2 ** 20
  const options = [`--memory=${memory}`, `--memory-swap=${memory}`]
  const { run } = await startNginxContainer(t, { options })
  t.match(await run('cat /etc/nginx/conf.d/workers.main'), /^worker_processes (1|2);$/)
  const share = await run('for pid in $(pidof nginx); do grep "Max data size" /proc/$pid/limits; done')
  const limits = share.split('\n').map((line) => Number(line.match(/\d+/)?.[0]))
  t.equal(new Set(limits).size, 1, 'of the first process, and so of its workers')
  const [, ...workers] = limits as [number, ...number[]]
  t.equal(workers.length * (workers[0] as number), 4 * (memory / 5), 'together four fifths of what there is')
})

t.test('HAProxy limits connections before any handshake', { skip: skipWithoutContainers }, async (t) => {
  // A slow machine would not reach the example's rate.
  const haproxy = await startHaproxyWithAddresses(t, (configuration) =>
    configuration
      .replace('sc_conn_rate(0) gt 300', 'sc_conn_rate(0) gt 5')
      .replace('sc_conn_cur(0) gt 200', 'sc_conn_cur(0) gt 3')
  )
  await isCutOff(t, haproxy, '/')
  await holdFrom(haproxy, ['fd00:1:0:5::1', 'fd00:1:0:5::2', 'fd00:1:0:5::3'])
  t.same(await callFrom(haproxy, ['fd00:1:0:5::4', 'fd00:1:0:6::1']), ['000', '503'], 'as many as may be open')
})

t.test('the nftables example limits connections before any edge', { skip: skipWithoutContainers }, async (t) => {
  const rules = join(import.meta.dirname, '../../examples/nftables/relay-tracker.nft')
  const nginx = await startNginxWithAddresses(t, { options: [`--volume=${rules}:/rules.nft:ro`] })
  await nginx.run('nft --file /rules.nft')
  // A slow machine does not reach 20 a second.
  const slower = 's/20\\/second burst 100 packets/1\\/hour burst 5 packets/'
  t.equal(
    await nginx.run(`sed '${slower}' /rules.nft > /tmp/rules && nft --file /tmp/rules; grep -c 1/hour /tmp/rules`),
    '2'
  )
  await isCutOff(t, nginx, '/')
})

const CUT_OFF = /^((503|404) ){4,6}(000 )+(503|404)$/

/** About five connections of one caller are accepted, and no more; those of others still are. */
async function isCutOff(t: Test, edge: EdgeContainer, path: string) {
  const [network, other] = [[1, 2, 3, 4, 5, 6, 7].map((n) => `fd00:1:0:1::${n}`), 'fd00:1:0:2::1']
  t.match((await callFrom(edge, [...network, other], { path })).join(' '), CUT_OFF, 'of one /64')
  const same = Array(7).fill('127.0.0.5')
  t.match((await callFrom(edge, [...same, '127.0.0.6'], { to: '127.0.0.1', path })).join(' '), CUT_OFF, 'IPv4')
}
