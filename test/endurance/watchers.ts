import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { quantile, toTable } from '../support/figures.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { registerPeer } from '../support/peers.ts'
import { startStack } from '../support/stack.ts'

/** `npm run test:watchers`: as many watchers as an API has to serve, through nginx. */
const WATCHERS = Number(process.env.WATCHERS || 5000)
const AT_ONCE = 50
const ANNOUNCEMENTS = 20
/** MiB of an API with all of them. */
const MAX_MEMORY = 200
const MiB = 2 ** 20

type Networks = Record<string, { IPAddress: string }>

t.test(`one API serves ${WATCHERS} watchers`, { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  const [api] = (await stack.containerIds('api')) as [string]
  const [nginx] = (await stack.containerIds('nginx')) as [string]
  // Not through a published port: Docker's proxy needs six files for each connection.
  const [{ NetworkSettings }] = (await stack.inspect(nginx)) as [{ NetworkSettings: { Networks: Networks } }]
  const address = NetworkSettings.Networks[`${stack.project}_default`]?.IPAddress
  const [alice, bob] = [await registerPeer(stack.relay, 'alice'), await registerPeer(stack.relay, 'bob')]
  const rows: object[] = []
  const measure = async (when: string) => {
    const [a, n] = [(await stack.memory(api)) / MiB, (await stack.memory(nginx)) / MiB]
    rows.push({ when, 'API (MiB)': a.toFixed(1), 'nginx (MiB)': n.toFixed(1) })
    return a
  }

  await measure('before')
  const watchers = new Set<IncomingMessage>()
  let told = 0
  let lists = 0
  const times: number[] = []
  let announced = 0
  let left = WATCHERS
  async function connect() {
    while (left-- > 0) {
      const req = https.get(`https://${address}/api/relay/broadcast/events`, {
        agent: false,
        rejectUnauthorized: false,
        cert: bob.certificate,
        key: bob.privateKey
      })
      const [response] = (await once(req, 'response')) as [IncomingMessage]
      if (response.statusCode !== 200) throw new Error(`${response.statusCode}`)
      watchers.add(response)
      response.on('close', () => watchers.delete(response)).on('error', () => {})
      response.setEncoding('utf8').on('data', (text: string) => {
        if (text.includes('event: list')) lists++
        if (!text.includes('event: online')) return
        told++
        times.push(Date.now() - announced)
      })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, connect))
  await eventually(
    async () => lists,
    (count) => count >= WATCHERS
  )
  const quiet = await measure('all watch')

  for (let port = 1; port <= ANNOUNCEMENTS; port++) {
    announced = Date.now()
    t.match(await stack.relay.ready(alice, { port, addresses: ['10.0.0.1'] }), { status: 200 })
    await eventually(
      async () => told,
      (count) => count >= port * WATCHERS
    )
  }
  const busy = await measure(`told of ${ANNOUNCEMENTS} announcements`)
  t.equal(told, ANNOUNCEMENTS * WATCHERS)
  t.equal(watchers.size, WATCHERS, 'nobody was lost')
  t.ok(Math.max(quiet, busy) < MAX_MEMORY, `the API has less than ${MAX_MEMORY} MiB`)

  for (const response of watchers) response.destroy()
  await eventually(
    () => stack.connections(api, 3000),
    (count) => count < 100
  )
  await measure('all have left')
  t.match(await stack.relay.list(bob), { status: 200, body: [{ email: alice.email }] })
  console.log(toTable(rows as Record<string, string>[]))
  console.log(
    `milliseconds from the announcement until a watcher knows: p50 ${quantile(times, 0.5)}, p99 ${quantile(times, 0.99)}`
  )
})
