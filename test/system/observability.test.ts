import { readFileSync } from 'node:fs'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { untilIncludes } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { startMailer, startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'
import { dashboardQueries, startPromtool } from '../support/prometheus.ts'

/** Each process's /metrics after some work. */
async function metricsOfAll(t: Parameters<typeof startApi>[0]) {
  const { url: database } = await createDatabase(t)
  const { relay, internal } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await relay.ready(alice)
  await relay.lookup(alice, alice.email)
  await relay.list(undefined)
  const worker = start(t, 'src/processes/cleanup.ts', {
    env: { DATABASE_URL: database, CLEANUP_SCHEDULE: '* * * * * *', CLEANUP_PORT: '0' }
  })
  await worker.printed('expired broadcasts deleted')
  const [, cleanup] = worker.output().match(/listening at (http:[^"]+)/) as [string, string]
  const server = await startMailServer(t)
  const verifying = await startApi(t, { database, env: server.env })
  const { fastify: mailer } = await startMailer(t, database, server.env)
  await verifying.relay.register(await createPeer('bob'))
  await server.next()
  const read = async (origin: string) => (await send(`${origin}/metrics`)).body as string
  const cleaned = await untilIncludes(() => read(cleanup), 'relay_cleanup_deleted_total')
  return { api: await read(internal), cleanup: cleaned, mailer: await mailer.metrics.metrics() }
}

t.test('operators get metrics, rules and a dashboard that fit together', { skip: skipWithoutContainers }, async (t) => {
  const promtool = await startPromtool(t)
  const all = await metricsOfAll(t)
  const names = new Set(
    Object.values(all).flatMap((text) => [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string))
  )

  t.test("the metrics follow Prometheus' conventions", async (t) => {
    for (const [process, text] of Object.entries(all)) {
      t.match(await promtool('check metrics', text), { exitCode: 0, output: /^$/ }, process)
    }
    t.match(
      await promtool('check metrics', '# TYPE relay_x_total gauge\nrelay_x_total 1\n'),
      { exitCode: 3 },
      'it would say'
    )
  })

  t.test('promtool accepts the configuration and the rules, whose tests pass', async (t) => {
    t.match(await promtool('check config /observability/prometheus.yml'), { exitCode: 0, output: /SUCCESS: \d+ rules/ })
    t.match(await promtool('test rules /observability/alerts.test.yml'), { exitCode: 0, output: /SUCCESS/ })
  })

  const alerts = [...readFileSync('observability/alerts.yml', 'utf8').matchAll(/- alert: (\w+)/g)].map(
    ([, name]) => name as string
  )
  t.test(
    'each alert has a test in which it fires, one in which it does not, and a section of the runbook',
    async (t) => {
      const tests = readFileSync('observability/alerts.test.yml', 'utf8').split(/(?= {6}- alertname: )/)
      const runbook = readFileSync('docs/RUNBOOK.md', 'utf8')
      t.ok(alerts.length > 0)
      for (const alert of alerts) {
        const cases = tests.filter((text) => text.startsWith(`      - alertname: ${alert}\n`))
        t.ok(
          cases.some((text) => text.includes('exp_alerts')),
          `${alert} fires`
        )
        t.match(runbook, new RegExp(`^## ${alert}$`, 'm'), `${alert} is explained`)
      }
      const headings = [...runbook.matchAll(/^## (Relay\w+)$/gm)].map(([, name]) => name)
      t.same(headings.sort(), [...alerts].sort(), 'and nothing else is')
    }
  )

  t.test('rules and dashboard query existing metrics, and every metric is documented', async (t) => {
    const used = (text: string) =>
      [...text.matchAll(/\b(?:relay|nodejs|process)_\w+/g)].map(([name]) => name.replace(/_(bucket|count|sum)$/, ''))
    const rules = readFileSync('observability/alerts.yml', 'utf8')
    for (const name of new Set([...used(rules), ...dashboardQueries().flatMap(({ query }) => used(query))])) {
      t.ok(names.has(name), name)
    }
    const documented = [...readFileSync('docs/OBSERVABILITY.md', 'utf8').matchAll(/^\| `(relay_\w+)/gm)].map(
      ([, name]) => name
    )
    const own = [...names].filter((name) => name.startsWith('relay_'))
    t.same(documented.sort(), own.sort())
  })
})
