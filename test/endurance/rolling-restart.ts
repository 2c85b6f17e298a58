import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { quantile, toTable } from '../support/figures.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { lostIn, startLoad } from '../support/load.ts'
import { startStack } from '../support/stack.ts'

t.test('callers do not notice a rolling restart under load', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  await stack.up('--no-recreate', '--scale', 'api=2')
  await stack.nginxHasReloaded()
  const apis = await stack.containerIds('api')

  const rows: Record<string, string | number>[] = []
  t.teardown(() => console.log(toTable(rows)))
  const load = await startLoad(stack.origin, { newConnectionEvery: 5 })
  t.teardown(load.stop)
  await pause(2000)
  for (const [n, id] of [...apis, ...apis].entries()) {
    const begun = load.outcomes.length
    const start = Date.now()
    await stack.docker('restart', '--time', '10', id)
    const lasted = Date.now() - start
    await stack.healthy('api')
    await pause(1000)
    const outcomes = load.outcomes.slice(begun)
    const times = outcomes.map(({ start, end }) => end - start)
    rows.push({
      restart: `API ${(n % 2) + 1}`,
      'lasted (s)': (lasted / 1000).toFixed(2),
      calls: outcomes.length,
      failed: outcomes.filter(({ status }) => status !== 200).length,
      'p99 (ms)': quantile(times, 0.99),
      'slowest (ms)': quantile(times, 1)
    })
    const [{ State }] = await stack.inspect(id)
    t.ok(Date.parse(State.StartedAt) > start, 'it was restarted')
  }
  await load.stop()
  t.same(
    load.outcomes.filter(({ status }) => status !== 200),
    [],
    'no call failed, over kept and over new connections'
  )
  t.same(await lostIn(stack, load), [], 'nothing was lost')
  const logs = await Promise.all(apis.map((id) => stack.logs(id)))
  for (const log of logs) t.ok(log.split('request completed').length > 50, 'both APIs had calls to answer')
})
