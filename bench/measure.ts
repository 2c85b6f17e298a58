import { quantile } from '../test/support/figures.ts'
import type { Job, Load, Outcome, Timing } from './load.ts'
import type { Subject } from './subjects.ts'
import { readUsage, type Usage } from './usage.ts'

/** By name, which includes the unit. A subject lacks the figures that do not apply to it. */
export type Figures = Record<string, number>

/** How the services are called in the results. */
const TITLES: Record<string, string> = { nginx: 'nginx', api: 'API', postgres: 'PostgreSQL', cleanup: 'worker' }
/** Milliseconds between two measurements of memory, each of which costs a little. */
const INTERVAL = 200
const MiB = 2 ** 20

/** One measurement of one subject under one load. */
export async function measure(
  load: Load,
  { containers }: Subject,
  job: Job,
  timing: Timing,
  wantsPeak = false
): Promise<Figures> {
  const peaks: Record<string, number> = {}
  let firstMemory: Record<string, number> | undefined
  const look = async () => {
    const usage = await readUsage(containers)
    firstMemory ??= usage.memory
    for (const [service, bytes] of Object.entries(usage.memory)) peaks[service] = Math.max(peaks[service] ?? 0, bytes)
    return usage
  }
  const timer = wantsPeak ? setInterval(() => look().catch(() => {}), INTERVAL) : undefined
  try {
    const { outcomes, before, after } = await load.run(job, timing, look)
    return {
      ...figuresOf(outcomes),
      ...cpuPerRequest(requestsPerSecond(outcomes), before, after),
      ...Object.fromEntries(
        Object.entries(peaks).map(([service, bytes]) => [`memory ${TITLES[service]} (MiB)`, bytes / MiB])
      ),
      'memory API before (MiB)': Number(firstMemory?.api) / MiB
    }
  } finally {
    clearInterval(timer)
  }
}

function requestsPerSecond(outcomes: Outcome[]) {
  return outcomes.reduce((sum, { times, elapsed }) => sum + (times.length && (1000 * times.length) / elapsed), 0)
}

function figuresOf(outcomes: Outcome[]): Figures {
  const times = outcomes.flatMap((outcome) => outcome.times)
  const firstBytes = outcomes.flatMap((outcome) => outcome.firstBytes)
  if (times.length === 0) throw new Error('no request was answered while it was measured: measure for longer')
  return {
    'requests/s': requestsPerSecond(outcomes),
    'p50 (ms)': quantile(times, 0.5),
    'p99 (ms)': quantile(times, 0.99),
    'first byte p50 (ms)': quantile(firstBytes, 0.5),
    'first byte p99 (ms)': quantile(firstBytes, 0.99),
    'bytes per answer': outcomes.reduce((sum, { bytes }) => sum + bytes, 0) / times.length
  }
}

/** As rates, since CPU time is read a little before and after the counted requests. */
function cpuPerRequest(perSecond: number, before: Usage, after: Usage): Figures {
  const seconds = (after.at - before.at) / 1000
  const perRequest = (name: string) => (Number(after.cpu[name]) - Number(before.cpu[name])) / seconds / perSecond
  const services = Object.keys(TITLES).filter((service) => service in before.cpu)
  const ours = services.reduce((sum, service) => sum + perRequest(service), 0)
  return {
    ...Object.fromEntries(services.map((service) => [`CPU ${TITLES[service]} (ms)`, perRequest(service)])),
    'CPU service (ms)': ours,
    'CPU load (ms)': perRequest('load'),
    'CPU other (ms)': perRequest('machine') - perRequest('load') - ours,
    'cores busy': (perRequest('machine') * perSecond) / 1000
  }
}
