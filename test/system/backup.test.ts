import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { migrate } from '../../src/postgres/migrations.ts'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { blocksOf } from '../support/docs.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { startOwnPostgres } from '../support/roles.ts'

const DUMP = '/tmp/relay.dump'

t.test('a backup made as docs/BACKUP.md says outlives its server', { skip: skipWithoutContainers }, async (t) => {
  const [backup, restore] = blocksOf('docs/BACKUP.md', 'With a PostgreSQL of your own')
  const first = await startServer(t)
  await migrate(first.url('relay_owner'))
  const { relay } = await startApi(t, { database: first.url('relay_api') })
  const before = await registerPeer(relay, 'before')
  await first.shell(backup?.text ?? '')
  const after = await createPeer('after')
  t.match(await relay.register(after), { status: 200 })
  const dump = (await first.container.copyArchiveFromContainer(DUMP)) as Readable

  const second = await startServer(t)
  await second.container.copyArchiveToContainer(dump, '/tmp')
  await first.stop()
  await second.shell(restore?.text ?? '')
  t.same(await migrate(second.url('relay_owner')), [], 'the dump knows what was applied')
  const restored = await startApi(t, { database: second.url('relay_api') })
  t.match(await restored.relay.register(before), { status: 409, body: { code: 'already_registered' } })
  t.match(await restored.relay.ready(before), { status: 200 })
  t.match(await restored.relay.register(after), { status: 200 }, 'who came after the backup is not in it')
})

/** A new server with the roles and an empty database. */
async function startServer(t: Test) {
  const server = await startOwnPostgres(t)
  await server.createRoles()
  const env = { DATABASE_URL: 'postgres://relay_owner@127.0.0.1/relay' }
  return { ...server, shell: (script: string) => server.shell(script, env) }
}
