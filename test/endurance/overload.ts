import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { quantile, toTable } from '../support/figures.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { lostIn, startLoad } from '../support/load.ts'
import { startStack } from '../support/stack.ts'

/** Numbers of callers to try until more callers get no more done. */
const STEPS = [4, 8, 16, 32, 64, 128]
const TIMES = 10
/** Milliseconds: to connect everyone, and of measuring. */
const SETTLE = 5000
const LENGTH = 10_000

/** Milliseconds: the requirement for 99 % of accepted calls, and what "at once" means for a refusal. */
const MAX_ACCEPTED = 1000
const MAX_REFUSED = 1000

t.test('the service keeps answering at ten times its capacity', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  const services = ['api', 'nginx', 'postgres']
  const ids = await Promise.all(services.map(async (name) => (await stack.containerIds(name))[0] as string))

  async function measure(peers: number, settle: number, length: number) {
    const load = await startLoad(stack.origin, { peers, rest: 0, newConnectionEvery: Infinity, registrations: false })
    t.teardown(load.stop)
    await pause(settle)
    const begun = load.outcomes.length
    const start = Date.now()
    const sizes: number[][] = []
    while (Date.now() < start + length) {
      sizes.push(await Promise.all(ids.map((id) => stack.memory(id))))
      await pause(500)
    }
    const outcomes = load.outcomes.slice(begun)
    const elapsed = Date.now() - start
    await load.stop()
    const accepted = outcomes.filter(({ status }) => status === 200)
    const refused = outcomes.filter(({ status, retryAfter }) => [429, 503].includes(status) && Number(retryAfter) > 0)
    const times = (some: typeof outcomes) => some.map(({ start, end }) => end - start)
    return {
      load,
      outcomes,
      accepted: times(accepted),
      refused: times(refused),
      others: outcomes.filter((outcome) => !accepted.includes(outcome) && !refused.includes(outcome)),
      perSecond: (1000 * accepted.length) / elapsed,
      peaks: ids.map((_, n) => Math.max(...sizes.map((size) => size[n] as number)))
    }
  }
  const rows: Record<string, string | number>[] = []
  const record = (
    peers: number,
    { perSecond, accepted, refused, others, peaks }: Awaited<ReturnType<typeof measure>>
  ) => {
    rows.push({
      callers: peers,
      '200 a second': perSecond.toFixed(0),
      'p50 (ms)': quantile(accepted, 0.5),
      'p99 (ms)': quantile(accepted, 0.99),
      refused: refused.length,
      'p50 (ms) ': quantile(refused, 0.5),
      'p99 (ms) ': quantile(refused, 0.99),
      other: others.length,
      ...Object.fromEntries(services.map((name, n) => [`${name} (MiB)`, ((peaks[n] as number) / 2 ** 20).toFixed(0)]))
    })
  }
  t.teardown(() => console.log(toTable(rows)))

  await measure(16, 1000, 3000) // code is compiled, connections are opened
  const steps: { peers: number; perSecond: number }[] = []
  for (const peers of STEPS) {
    const result = await measure(peers, 1000, 4000)
    record(peers, result)
    steps.push({ peers, perSecond: result.perSecond })
  }
  const capacity = Math.max(...steps.map(({ perSecond }) => perSecond))
  const saturating = steps.find(({ perSecond }) => perSecond >= 0.9 * capacity)?.peers as number

  const result = await measure(TIMES * saturating, SETTLE, LENGTH)
  record(TIMES * saturating, result)
  const { accepted, refused, others, perSecond, load } = result
  t.same(others, [], 'everything else is 429 or 503 with Retry-After')
  t.ok(refused.length > 0, 'it was too much')
  t.ok(quantile(accepted, 0.99) < MAX_ACCEPTED, `what is accepted is served in ${quantile(accepted, 0.99)} ms (p99)`)
  t.ok(quantile(refused, 0.99) < MAX_REFUSED, `what is not is refused in ${quantile(refused, 0.99)} ms (p99)`)
  t.ok(perSecond > capacity / 2, `${perSecond.toFixed(0)} a second of ${capacity.toFixed(0)} are still served`)
  t.same(await lostIn(stack, load), [], 'every 200 that a caller got is in the database')
  for (const [n, { RestartCount, State, HostConfig }] of (await stack.inspect(...ids)).entries()) {
    t.match(
      { RestartCount, OOMKilled: State.OOMKilled },
      { RestartCount: 0, OOMKilled: false },
      `${services[n]} was not started again`
    )
    t.ok((result.peaks[n] as number) < HostConfig.Memory / 2, `${services[n]}: memory far from its limit`)
  }
})
