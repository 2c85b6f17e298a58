import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { ANNOUNCEMENT } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { untilStatus } from '../support/http-client.ts'
import { buildImage } from '../support/image.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { registerPeer } from '../support/peers.ts'
import { startStack } from '../support/stack.ts'
import { between, LENGTH, underLoad } from './under-load.ts'

const IMAGE = 'relay-tracker-test-network'
/** Milliseconds within which TCP would still deliver what was lost: it retries after ever longer pauses. */
const RETRANSMISSION = 2 * LENGTH

type Service = 'nginx' | 'api' | 'cleanup' | 'mailer' | 'postgres'
const NAMES = { nginx: 'nginx', api: 'API', cleanup: 'worker', mailer: 'mailer', postgres: 'PostgreSQL' }

/** Rules that drop all that `from` sends to an address or receives from it. */
const WAYS = {
  'both ways': (address: string) => [`OUTPUT -d ${address}`, `INPUT -s ${address}`],
  'requests lost': (address: string) => [`OUTPUT -d ${address}`],
  'answers lost': (address: string) => [`INPUT -s ${address}`]
}

t.test('the service recovers from partitions under load', { skip: skipWithoutContainers }, async (t) => {
  await buildImage(IMAGE, 'test/endurance/network')
  const stack = await startStack(t, { ...NO_EDGE_LIMITS, CLEANUP_SCHEDULE: '* * * * * *' })
  const { relay, query, docker } = stack
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')

  async function lose(from: Service, to: Service, network: string, rules: (address: string) => string[]) {
    const [ids, [id]] = await Promise.all([stack.containerIds(from), stack.containerIds(to)])
    const [{ NetworkSettings }] = await stack.inspect(id as string)
    const change = (action: string) => {
      const { IPAddress } = NetworkSettings.Networks[`${stack.project}_${network}`]
      const script = rules(IPAddress)
        .map((rule) => `iptables -w ${action} ${rule} -j DROP`)
        .join(' && ')
      const options = ['--rm', '--cap-add', 'NET_ADMIN', '--network', `container:${ids[0]}`]
      return docker('run', ...options, IMAGE, 'sh', '-c', script)
    }
    return { begin: () => change('-A'), end: () => change('-D') }
  }

  for (const [from, to, network] of [
    ['nginx', 'api', 'edge'],
    ['api', 'postgres', 'database'],
    ['cleanup', 'postgres', 'database'],
    ['mailer', 'postgres', 'database']
  ] as const) {
    for (const [way, rules] of Object.entries(WAYS)) {
      const what = `${NAMES[from]} and ${NAMES[to]}: ${way}`
      const { begin, end } = await lose(from, to, network, rules)
      if (from === 'cleanup' || from === 'mailer') {
        await underLoad(t, stack, what, () => between(begin, end), { isNoticed: false })
        continue
      }
      const announce = (port: number) => relay.ready(alice, { ...ANNOUNCEMENT, port })
      // The last call is in flight, on a connection that worked so far, when the network breaks.
      const first = eventually(
        () => announce(1),
        ({ status }) => status !== 200
      )
      const inflict = () =>
        between(begin, async () => {
          await end()
          await untilStatus(200, () => announce(2))
        })
      await underLoad(t, stack, what, inflict)
      t.match(await first, { status: 503 })
      await pause(RETRANSMISSION)
      t.match(
        await relay.lookup(bob, alice.email),
        { body: { port: 2 } },
        `${what}: what was given up is not done later`
      )
    }
  }

  // The worker has met three of these by now.
  await query(`insert into broadcasts (client_id, port, addresses, expires_at, last_announced_at)
    select id, 1, '{192.0.2.1}', now() - interval '1 s', now() - interval '2 s' from clients where email = '${bob.email}'`)
  await eventually(
    () => query('select from broadcasts where expires_at <= now()'),
    (rows) => rows.length === 0
  )
})
