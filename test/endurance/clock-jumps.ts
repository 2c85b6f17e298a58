import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { ANNOUNCEMENT } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { buildImage } from '../support/image.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { registerPeer } from '../support/peers.ts'
import { startStack } from '../support/stack.ts'
import { watchAs } from '../support/watch.ts'
import { between, underLoad } from './under-load.ts'

/** Seconds that a clock jumps, and that announcements last. */
const HOUR = 3600
/** Milliseconds until a process sees its new clock. */
const NOTICED = 1500

const IMAGES = { api: 'relay-tracker', cleanup: 'relay-tracker', nginx: 'nginx:stable', postgres: 'postgres:18' }
type Service = keyof typeof IMAGES

t.test('the service survives clocks that jump by an hour under load', { skip: skipWithoutContainers }, async (t) => {
  await buildImage('relay-tracker', '.')
  const dir = t.testdir({})
  const clock = (service: Service) => join(dir, service)
  const set = async (service: Service, offset: number) => {
    writeFileSync(join(clock(service), 'faketimerc'), `${offset < 0 ? '' : '+'}${offset}\n`)
    await pause(NOTICED)
  }
  const services: Record<string, object> = {}
  for (const [service, image] of Object.entries(IMAGES)) {
    const name = `relay-tracker-test-clock-${service}`
    await buildImage(name, 'test/endurance/clock', undefined, { BASE: image })
    services[service] = { image: name, volumes: [`${clock(service as Service)}:/clock:ro`] }
    mkdirSync(clock(service as Service))
    await set(service as Service, 0)
  }
  const override = join(dir, 'docker-compose.json')
  writeFileSync(override, JSON.stringify({ services }))

  const COMPOSE_FILE = `docker-compose.yml:${override}`
  const stack = await startStack(t, { ...NO_EDGE_LIMITS, CLEANUP_SCHEDULE: '* * * * * *', COMPOSE_FILE })
  const { relay, origin, query } = stack
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')
  const online = async (peer: typeof alice) => (await relay.lookup(bob, peer.email)).status === 200

  /** A service's clock, in milliseconds. */
  async function timeOf(service: Service) {
    if (service === 'nginx') return Date.parse(String((await relay.list(undefined)).headers.date))
    if (service === 'postgres') return 1000 * Number((await query('select extract(epoch from now())'))[0]?.[0])
    const [id] = (await stack.containerIds(service)) as [string]
    const lines = (await stack.logs(id)).split('\n').filter((line) => line.startsWith('{'))
    return JSON.parse(lines.at(-1) as string).time as number
  }

  const jump = (service: Service, seconds: number, look: () => Promise<unknown> = async () => {}) =>
    between(
      async () => {
        await set(service, seconds)
        await eventually(
          () => timeOf(service),
          (time) => Math.round((time - Date.now()) / (HOUR * 1000)) * HOUR === seconds
        )
        await look()
      },
      () => set(service, 0)
    )
  const cleansUp = async () => {
    await query(`insert into broadcasts (client_id, port, addresses, expires_at, last_announced_at)
      select id, 1, '{192.0.2.1}', now() - interval '1 s', now() - interval '2 s' from clients where email = 'bob@example.com'`)
    await eventually(
      () => query("select from broadcasts join clients c on c.id = client_id where c.email = 'bob@example.com'"),
      (rows) => rows.length === 0
    )
  }

  for (const [service, name] of [
    ['api', 'API'],
    ['nginx', 'nginx'],
    ['cleanup', 'worker']
  ] as const) {
    for (const [where, seconds] of [
      ['ahead', HOUR],
      ['behind', -HOUR]
    ] as const) {
      t.match(await relay.ready(alice), { status: 200, body: { expires_in: HOUR } })
      const watcher = await watchAs(t, origin, bob)
      const what = `${name}: clock an hour ${where}`
      await underLoad(t, stack, what, () => jump(service, seconds), { isNoticed: false })
      t.ok(await online(alice), `${what}: who is online stays online`)
      await relay.ready(alice, { ...ANNOUNCEMENT, port: 4242 })
      await eventually(
        async () => watcher.events,
        (events) =>
          events.some(({ name, data }) => name === 'online' && data.port === 4242 && data.email === alice.email)
      )
      watcher.response.destroy()
      await cleansUp()
    }
  }

  await relay.ready(alice)
  const isExpired = async () => t.notOk(await online(alice), 'what expires within the hour has expired')
  await underLoad(t, stack, 'PostgreSQL: clock an hour ahead', () => jump('postgres', HOUR, isExpired), {
    isNoticed: 'maybe'
  })
  await relay.ready(alice)
  t.ok(await online(alice), 'who announces again is online again')

  const isOnline = async () => t.ok(await online(alice), 'nothing expires before its time')
  await underLoad(t, stack, 'PostgreSQL: clock an hour behind', () => jump('postgres', -HOUR, isOnline), {
    isNoticed: 'maybe'
  })
  t.ok(await online(alice), 'also when it is right again')
  await cleansUp()
})
