import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { quantile, toTable } from '../support/figures.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { lostIn, startLoad } from '../support/load.ts'
import { startStack } from '../support/stack.ts'

const MINUTES = Number(process.env.SOAK_MINUTES || 15)
/** Milliseconds between two measurements of memory and connections. */
const INTERVAL = 10_000
/** How much the last quarter may differ from the first. */
const TOLERANCE = 0.1
/** Milliseconds of load before the first measurement, while connections, caches and heaps grow to their size. */
const WARM_UP = 60_000

const SERVICES = ['api', 'cleanup', 'nginx', 'postgres']

t.test(`a steady load for ${MINUTES} minutes leaks nothing`, { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  const ids = new Map<string, string>()
  for (const service of SERVICES) ids.set(service, (await stack.containerIds(service))[0] as string)

  const look = async () => {
    const sizes = SERVICES.map(async (name) => [
      `${name}: MiB`,
      (await stack.memory(ids.get(name) as string)) / 2 ** 20
    ])
    const [api, nginx] = [ids.get('api') as string, ids.get('nginx') as string]
    return {
      ...(Object.fromEntries(await Promise.all(sizes)) as Record<string, number>),
      'api: open files': await stack.openFiles(api),
      'nginx: TCP connections': await stack.connections(nginx),
      'postgres: connections': await databaseConnections()
    }
  }
  const databaseConnections = async () =>
    Number(
      (await stack.query("select count(*) from pg_stat_activity where application_name = 'relay-tracker'"))[0]?.[0]
    )

  const load = await startLoad(stack.origin, { peers: 16, rest: 100 })
  t.teardown(load.stop)
  await pause(WARM_UP)
  const samples: Record<string, number>[] = []
  const end = Date.now() + MINUTES * 60_000
  while (Date.now() < end) {
    samples.push(await look())
    await pause(INTERVAL)
  }
  await load.stop()

  const quarter = Math.ceil(samples.length / 4)
  const [first, last] = [samples.slice(0, quarter), samples.slice(-quarter)]
  const median = (part: typeof samples, name: string) =>
    quantile(
      part.map((sample) => sample[name] as number),
      0.5
    )
  const rows = Object.keys(samples[0] ?? {}).map((name) => {
    const [before, after] = [median(first, name), median(last, name)]
    return {
      '': name,
      'first quarter': before.toFixed(1),
      'last quarter': after.toFixed(1),
      change: percent(after / before - 1)
    }
  })
  const times = load.outcomes.map(({ start, end }) => end - start)
  const failed = load.outcomes.filter(({ status }) => status !== 200)
  t.comment(
    `${load.outcomes.length} calls, ${(load.outcomes.length / MINUTES / 60).toFixed(0)} a second, p50 ${quantile(times, 0.5)} ms, p99 ${quantile(times, 0.99)} ms; ${failed.length} failed`
  )
  console.log(toTable(rows))

  for (const name of Object.keys(samples[0] ?? {}).filter((name) => name.endsWith('MiB'))) {
    const change = median(last, name) / median(first, name) - 1
    t.ok(Math.abs(change) <= TOLERANCE, `${name}: ${percent(change)}`)
  }
  t.same(
    failed.filter(({ status }) => status !== 503),
    [],
    'no call failed for another reason than a machine that was too busy with something else'
  )
  t.same(await lostIn(stack, load), [], 'nothing was lost')
  t.ok((await databaseConnections()) <= 20, 'API and worker have no more connections than their pools hold')
  await eventually(
    () => stack.connections(ids.get('nginx') as string, 443),
    (count) => count === 0
  )
  t.pass('nginx keeps no connection of a caller who has left')
})

const percent = (share: number) => `${share < 0 ? '' : '+'}${(100 * share).toFixed(1)} %`
