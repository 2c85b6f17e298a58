import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { EDGES, hostOfContainers } from '../support/edge.ts'
import { eventually } from '../support/eventually.ts'

for (const kind of ['HAProxy', 'Caddy'] as const) {
  t.test(
    `${kind}: an API that hangs gets no more calls until it answers again`,
    { skip: skipWithoutContainers },
    async (t) => {
      let isHung = false
      let calls = 0
      const api = createServer((req, res) => {
        const isCall = req.url?.startsWith('/api/relay/')
        if (isCall) calls++
        if (!isHung) res.writeHead(isCall ? 200 : 404).end()
      })
      const { host, name } = await hostOfContainers()
      await once(api.listen(0, host), 'listening')
      t.teardown(() => {
        api.closeAllConnections()
        api.close()
      })
      const { relay } = await EDGES[kind].start(t, `${name}:${(api.address() as AddressInfo).port}`)
      const call = async () => {
        const before = calls
        const { status, headers } = await relay.call('/broadcast/lookup')
        return { status, retryAfter: headers['retry-after'], asked: calls - before }
      }

      t.match(await eventually(call, ({ status }) => status === 200), { asked: 1 })
      isHung = true
      t.match(await eventually(call, ({ asked }) => asked === 0), { status: 503, retryAfter: /^\d+$/ })
      isHung = false
      t.match(await eventually(call, ({ status }) => status === 200), { asked: 1 })
    }
  )
}
