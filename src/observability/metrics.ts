import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { VERSION } from '../runtime/version.ts'

/** Seconds. Who asks is answered within 3, or was given up. */
const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
/** Seconds. A statement is given up after 2. */
const QUERY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** Calls. A statement takes at most 100. */
const BATCH_BUCKETS = [1, 2, 5, 10, 20, 50, 100]

/** Of Node.js and the process, under the names that every dashboard for Node.js knows. */
const PROCESS = new Registry()
collectDefaultMetrics({ register: PROCESS })
// Those whose names break the conventions; others say the same.
for (const name of [
  ...['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'],
  ...['nodejs_eventloop_utilization_histogram', 'nodejs_eventloop_utilization_summary']
]) {
  PROCESS.removeSingleMetric(name)
}

/** What a process tells of itself at /metrics: first of all which version it is. */
export function createRegistry(): Registry {
  const registry = Registry.merge([PROCESS])
  const registers = [registry]
  new Gauge({ name: 'relay_build_info', help: 'Is 1, for the version', labelNames: ['version'], registers })
    .labels(VERSION)
    .set(1)
  return registry
}

/** What is counted of the peers' calls. No label says who called. */
export function requestMetrics(registry: Registry) {
  const registers = [registry]
  const requests = new Histogram({
    name: 'relay_http_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer; 499: the caller hung up before there was one',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_BUCKETS,
    registers
  })
  const lookups = new Counter({
    name: 'relay_lookups_total',
    help: 'Lookups that were answered, by whether the peer was found online',
    labelNames: ['result'],
    registers
  })
  const announcements = new Counter({
    name: 'relay_announcements_total',
    help: 'Announcements that were made, first ones and renewals',
    registers
  })
  const registrations = new Counter({
    name: 'relay_registrations_total',
    help: 'Calls to register by result: registered, pending (a mail is to be confirmed) or the code of the refusal',
    labelNames: ['result'],
    registers
  })
  const failures = new Counter({
    name: 'relay_authentication_failures_total',
    help: 'Calls refused for who called, by the code of the refusal',
    labelNames: ['reason'],
    registers
  })
  const [found, notFound] = [lookups.labels('found'), lookups.labels('not_found')]
  for (const child of [found, notFound, registrations.labels('registered')]) child.inc(0)

  // To find a child by its labels takes longer than to count.
  const children = new Map<string, { observe: (seconds: number) => void }>()
  return {
    announced: () => announcements.inc(),
    lookedUp: (isFound: boolean) => (isFound ? found : notFound).inc(),
    registered: (result: string) => registrations.inc({ result }),
    notAuthenticated: (reason: string) => failures.inc({ reason }),
    answered(method: string, route: string, status: number, seconds: number) {
      const key = `${status} ${method} ${route}`
      const child = children.get(key) ?? requests.labels(method, route, String(status))
      children.set(key, child)
      child.observe(seconds)
    }
  }
}

/** What is measured of the statements, and, when it is asked for, of the connections. */
export function databaseMetrics(registry: Registry, load: () => { inUse: number; max: number; waiting: number }) {
  const registers = [registry]
  const queries = new Histogram({
    name: 'relay_database_query_duration_seconds',
    help: 'Time until the database had answered a statement',
    labelNames: ['result'],
    buckets: QUERY_BUCKETS,
    registers
  })
  const batches = new Histogram({
    name: 'relay_database_batch_size',
    help: 'Calls that were made one statement',
    buckets: BATCH_BUCKETS,
    registers
  })
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      }
    })
  gauge(
    'relay_database_connections_in_use',
    'Connections to the database with a statement under way',
    () => load().inUse
  )
  gauge('relay_database_connections_max', 'Connections to the database that there may be', () => load().max)
  gauge('relay_database_queries_waiting', 'Statements that wait for a connection', () => load().waiting)
  for (const result of ['ok', 'failed']) queries.zero({ result }) // else there is no rate of the first failure
  const [ok, failed] = [queries.labels('ok'), queries.labels('failed')]
  return {
    answered: (seconds: number, isOk: boolean) => (isOk ? ok : failed).observe(seconds),
    batched: (size: number) => batches.observe(size)
  }
}

/** Of the service as a whole, and so the same from each API: how many peers there are. Without a value while that is not known. */
export function peerMetrics(
  registry: Registry,
  count: () => Promise<{ registered: number; online: number } | undefined>
) {
  const gauge = (state: 'registered' | 'online', help: string) =>
    new Gauge({
      name: `relay_peers_${state}`,
      help,
      registers: [registry],
      async collect() {
        const counted = await count()
        if (counted) this.set(counted[state])
        else this.remove()
      }
    })
  gauge('registered', 'Registered peers')
  gauge('online', 'Peers with a broadcast that has not expired')
}

/** @param count how many watch now */
export function watcherMetrics(registry: Registry, count: () => number) {
  new Gauge({
    name: 'relay_watchers',
    help: 'Callers who follow the list as events',
    registers: [registry],
    collect() {
      this.set(count())
    }
  })
}

/** What the cleanup worker did. Who left the work to another worker has nothing to tell. */
export function cleanupMetrics(registry: Registry) {
  const registers = [registry]
  const deleted = new Counter({
    name: 'relay_cleanup_deleted_total',
    help: 'Rows deleted because they had expired',
    labelNames: ['kind'],
    registers
  })
  const runs = new Counter({
    name: 'relay_cleanup_runs_total',
    help: 'Runs by result; left: another worker was at it',
    labelNames: ['result'],
    registers
  })
  const success = new Gauge({
    name: 'relay_cleanup_last_success_timestamp_seconds',
    help: 'When a run last succeeded, in Unix time; 0 for never',
    registers
  })
  const duration = new Gauge({
    name: 'relay_cleanup_last_duration_seconds',
    help: 'How long the last run took that succeeded',
    registers
  })
  for (const result of ['succeeded', 'failed', 'left']) runs.inc({ result }, 0)
  return {
    succeeded(seconds: number, counts: Record<string, number>) {
      runs.inc({ result: 'succeeded' })
      for (const [kind, count] of Object.entries(counts)) deleted.inc({ kind }, count)
      success.setToCurrentTime()
      duration.set(seconds)
    },
    failed: () => runs.inc({ result: 'failed' }),
    left: () => runs.inc({ result: 'left' })
  }
}

/** What became of mails. */
export function mailMetrics(registry: Registry) {
  const mails = new Counter({
    name: 'relay_mails_total',
    help: 'Mails by result; deferred: it is tried again; rejected: the address does not take it',
    labelNames: ['result'],
    registers: [registry]
  })
  const results = ['sent', 'deferred', 'rejected'] as const
  for (const result of results) mails.inc({ result }, 0)
  return { ended: (result: (typeof results)[number]) => mails.inc({ result }) }
}
