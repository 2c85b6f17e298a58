import t from 'tap'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { registerPeer } from '../support/peers.ts'

t.test('an API with DATABASE_POOLER_URL sends its queries there', async (t) => {
  const { url: database } = await createDatabase(t)
  const pooler = await startFaultyNetwork(t, database)
  const { relay } = await startApi(t, { database, env: { DATABASE_POOLER_URL: pooler.url } })
  const alice = await registerPeer(relay)
  t.match(await relay.ready(alice), { status: 200 })
  t.ok(pooler.connections() > 0)
})
