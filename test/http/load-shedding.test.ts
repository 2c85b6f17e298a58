import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { MAX_REQUESTS } from '../../src/http/load-shedding.ts'
import { MAX_LISTS } from '../../src/presence/list.ts'
import { startApi } from '../support/api.ts'
import { connectionsOf } from '../support/connections.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { edgeHeader, registerPeer } from '../support/peers.ts'

for (const { what, path, max } of [
  { what: 'calls', path: '/broadcast/ready', max: MAX_REQUESTS },
  { what: 'lists', path: '/broadcast/list', max: MAX_LISTS }
]) {
  t.test(`more ${what} than can be served are refused at once, and /livez still answers`, async (t) => {
    const { patient: database, sql } = await createDatabase(t)
    const { relay, origin, internal, fastify } = await startApi(t, { database })
    const alice = await registerPeer(relay)
    const call = () => relay.call(path, { as: alice })
    const { status: usual } = await call()
    const underWay = () => connectionsOf(fastify.server)

    await sql.begin(async (transaction) => {
      await transaction`lock table clients in access exclusive mode`
      // On a slow machine, the first requests may be answered before the last arrives; then all are sent again.
      const refused = await eventually(
        async () => {
          const sent = Array.from({ length: max }, () =>
            request(`${origin}/api/relay${path}`, { headers: edgeHeader(alice), agent: false }).on('error', () => {})
          )
          for (const req of sent) req.end()
          const full = eventually(underWay, (count) => count === max, 3).then(call, () => undefined)
          const first = await Promise.race([full, ...sent.map((req) => once(req, 'response').then(() => undefined))])
          if (first) t.match(await send(`${internal}/livez`), { status: 200 })
          for (const req of sent) req.destroy()
          await eventually(underWay, (count) => count === 0)
          return first
        },
        (first) => first !== undefined,
        120
      )
      t.match(refused, { status: 503, headers: { 'retry-after': '2' }, body: { code: 'service_unavailable' } })
    })
    await eventually(call, ({ status }) => status === usual)
    t.pass('callers who left have given their places back')
  })
}
