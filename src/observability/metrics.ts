import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import fp from 'fastify-plugin'
import { VERSION } from '../runtime/version.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where each plugin registers what it measures, for /metrics. */
    metrics: Registry
  }
}

/** Seconds. A caller is answered within 3 s. */
const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
/** Seconds. A statement is canceled after 2 s. */
const QUERY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** Calls. A statement answers at most 100. */
const BATCH_BUCKETS = [1, 2, 5, 10, 20, 50, 100]

/** Metrics of Node.js and the process, under the names that every dashboard for Node.js knows. */
const PROCESS = new Registry()
collectDefaultMetrics({ register: PROCESS })
// Their names break Prometheus's conventions, and other metrics say the same.
for (const name of [
  ...['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'],
  ...['nodejs_eventloop_utilization_histogram', 'nodejs_eventloop_utilization_summary']
]) {
  PROCESS.removeSingleMetric(name)
}

/** Gives a process its metrics. */
export default fp(
  async (fastify) => {
    fastify.decorate('metrics', createRegistry())
  },
  { name: 'metrics' }
)

/** The metrics of a process, starting with its version. */
export function createRegistry(): Registry {
  const registry = Registry.merge([PROCESS])
  const info = metricsIn(registry).gauge('relay_build_info', 'Always 1, labeled with the version', 'version')
  info.labels(VERSION).set(1)
  return registry
}

/** Makes metrics in a registry. */
function metricsIn(registry: Registry) {
  const registers = [registry]
  return {
    counter: <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
      new Counter({ name, help, labelNames, registers }),
    histogram: <Label extends string>(name: string, help: string, buckets: number[], ...labelNames: Label[]) =>
      new Histogram({ name, help, buckets, labelNames, registers }),
    gauge: <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
      new Gauge({ name, help, labelNames, registers }),
    /** A gauge that is read when an operator asks; it has no value while that is undefined. */
    gaugeOf(name: string, help: string, read: () => number | undefined | Promise<number | undefined>) {
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          const value = await read()
          if (value === undefined) this.remove()
          else this.set(value)
        }
      })
    }
  }
}

/** Metrics of the peers' calls. No label says who called. */
export function requestMetrics(registry: Registry) {
  const { counter, histogram } = metricsIn(registry)
  const requests = histogram(
    'relay_http_request_duration_seconds',
    'Time from the head of a request to the end of its response; 499: the caller hung up before there was one',
    REQUEST_BUCKETS,
    'method',
    'route',
    'status'
  )
  const lookups = counter('relay_lookups_total', 'Lookups answered, by whether the peer was found online', 'result')
  const announcements = counter('relay_announcements_total', 'Announcements, first ones and renewals')
  const registrations = counter(
    'relay_registrations_total',
    'Calls to register by result: registered, pending (an e-mail has to be confirmed) or the error code',
    'result'
  )
  const failures = counter(
    'relay_authentication_failures_total',
    'Calls refused because of who called, by error code',
    'reason'
  )
  const [found, notFound] = [lookups.labels('found'), lookups.labels('not_found')]
  for (const child of [found, notFound, registrations.labels('registered')]) child.inc(0)

  // Finding a child by its labels takes longer than counting.
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

/** Metrics of statements and connections. */
export function databaseMetrics(registry: Registry, load: () => { inUse: number; max: number; waiting: number }) {
  const { gaugeOf, histogram } = metricsIn(registry)
  const queries = histogram(
    'relay_database_query_duration_seconds',
    'Time until the database answered a statement',
    QUERY_BUCKETS,
    'result'
  )
  const batches = histogram('relay_database_batch_size', 'Calls combined into one statement', BATCH_BUCKETS)
  gaugeOf('relay_database_connections_in_use', 'Connections with a statement in flight', () => load().inUse)
  gaugeOf('relay_database_connections_max', 'The most connections to the database', () => load().max)
  gaugeOf('relay_database_queries_waiting', 'Statements waiting for a connection', () => load().waiting)
  for (const result of ['ok', 'failed']) queries.zero({ result }) // else the first failure would have no rate
  const [ok, failed] = [queries.labels('ok'), queries.labels('failed')]
  return {
    answered: (seconds: number, isOk: boolean) => (isOk ? ok : failed).observe(seconds),
    batched: (size: number) => batches.observe(size)
  }
}

/** Metrics of the service as a whole, the same from each API; without values while the count is unknown. */
export function peerMetrics(
  registry: Registry,
  count: () => Promise<{ registered: number; online: number } | undefined>
) {
  const { gaugeOf } = metricsIn(registry)
  gaugeOf('relay_peers_registered', 'Registered peers', async () => (await count())?.registered)
  gaugeOf('relay_peers_online', 'Peers with an unexpired broadcast', async () => (await count())?.online)
}

/** @param count the callers watching now */
export function watcherMetrics(registry: Registry, count: () => number) {
  metricsIn(registry).gaugeOf('relay_watchers', 'Callers who follow the list as events', count)
}

/** Metrics of the cleanup worker. */
export function cleanupMetrics(registry: Registry) {
  const { counter, gauge } = metricsIn(registry)
  const deleted = counter('relay_cleanup_deleted_total', 'Rows deleted because they had expired', 'kind')
  const runs = counter(
    'relay_cleanup_runs_total',
    'Runs by result; left: skipped, because another worker was running',
    'result'
  )
  const success = gauge(
    'relay_cleanup_last_success_timestamp_seconds',
    'When a run last succeeded, in Unix time; 0 for never'
  )
  const duration = gauge('relay_cleanup_last_duration_seconds', 'How long the last successful run took')
  for (const result of ['succeeded', 'failed', 'left']) runs.inc({ result }, 0)
  return {
    succeeded(seconds: number, counts: Record<string, number>) {
      runs.inc({ result: 'succeeded' })
      for (const [kind, count] of Object.entries(counts)) deleted.inc({ kind }, count)
      success.setToCurrentTime()
      duration.set(seconds)
    },
    failed: () => runs.inc({ result: 'failed' }),
    skipped: () => runs.inc({ result: 'left' })
  }
}

/** Metrics of the mailer. */
export function mailMetrics(registry: Registry) {
  const mails = metricsIn(registry).counter(
    'relay_mails_total',
    'E-mails by result; deferred: will be retried; rejected: the address does not accept it',
    'result'
  )
  const results = ['sent', 'deferred', 'rejected'] as const
  for (const result of results) mails.inc({ result }, 0)
  return { ended: (result: (typeof results)[number]) => mails.inc({ result }) }
}
