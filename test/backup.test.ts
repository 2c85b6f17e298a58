import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers'
import { connect } from '../src/database.ts'
import { migrate } from '../src/migrate.ts'
import { blocksOf } from './docs.ts'
import { createPeer, registerPeer, skipWithoutContainers, startApi } from './helper.ts'

const DUMP = '/tmp/relay.dump'

const SERVER = `
  initdb --pgdata=/tmp/data --username=postgres --auth=trust
  echo 'host all all all trust' >> /tmp/data/pg_hba.conf
  exec postgres -D /tmp/data -c listen_addresses=* -c unix_socket_directories=/tmp -c fsync=off`

t.test('what docs/BACKUP.md backs up is there after the server is lost', { skip: skipWithoutContainers }, async (t) => {
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
  await first.container.stop()
  await second.shell(restore?.text ?? '')
  t.same(await migrate(second.url('relay_owner')), [], 'the dump knows what was applied')
  const restored = await startApi(t, { database: second.url('relay_api') })
  t.match(await restored.relay.register(before), { status: 409, body: { code: 'already_registered' } })
  t.match(await restored.relay.ready(before), { status: 200 })
  t.match(await restored.relay.register(after), { status: 200 }, 'who came after the backup is not in it')
})

/** A new server with the roles and an empty database. */
async function startServer(t: Test) {
  const container: StartedTestContainer = await new GenericContainer('postgres:18')
    .withUser('postgres')
    .withEntrypoint(['bash', '-e', '-c', SERVER])
    .withWorkingDir('/tmp')
    .withExposedPorts(5432)
    .withWaitStrategy(
      Wait.forAll([Wait.forLogMessage('database system is ready to accept connections'), Wait.forListeningPorts()])
    )
    .start()
  t.teardown(() => container.stop())
  const url = (role: string, database = 'relay') =>
    `postgres://${role}@${container.getHost()}:${container.getMappedPort(5432)}/${database}`
  const sql = connect(url('postgres', 'postgres'), { max: 1, statementTimeout: 0 })
  for (const role of ['relay_owner', 'relay_api', 'relay_cleanup', 'relay_mailer']) {
    await sql`create role ${sql(role)} login`
  }
  await sql`create database relay owner relay_owner`
  await sql.end()
  return {
    container,
    url,
    /** Runs what an operator types. */
    async shell(script: string) {
      const env = { DATABASE_URL: 'postgres://relay_owner@127.0.0.1/relay' }
      const { exitCode, output } = await container.exec(['bash', '-e', '-c', script], { env })
      if (exitCode !== 0) throw new Error(output)
    }
  }
}
