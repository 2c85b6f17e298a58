import t from 'tap'
import { migrate } from '../../src/postgres/migrations.ts'
import { anyOf, connect } from '../../src/postgres/postgres-driver.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { send } from '../support/http-client.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { createRoles } from '../support/roles.ts'

/** What a role may set for its own future sessions. */
const HOSTILE = {
  search_path: 'nowhere',
  default_transaction_read_only: 'on',
  default_transaction_isolation: 'serializable',
  synchronous_commit: 'off',
  statement_timeout: '1',
  lock_timeout: '1',
  idle_session_timeout: '1',
  local_preload_libraries: 'nothing',
  DateStyle: 'German',
  bytea_output: 'escape',
  TimeZone: 'Asia/Tokyo',
  log_parameter_max_length_on_error: '-1',
  debug_print_parse: 'on',
  debug_print_rewritten: 'on',
  debug_print_plan: 'on'
}

t.test('a role’s own settings do not affect the process that logs in as it', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  const urlOf = await createRoles(sql, url)
  const [{ name }] = await sql<[{ name: string }]>`select current_database() as name`
  const settings = Object.keys(HOSTILE)
  const read = async (role: string) => {
    const connection = connect(urlOf(role), { max: 1, statementTimeout: 0 })
    const rows = await connection`select name, setting from pg_settings where name = ${anyOf(connection, settings)}
      order by name`
    await connection.end()
    return [...rows]
  }
  const before = await read('relay_api')
  t.equal(before.length, settings.length)
  for (const role of ['relay_api', 'relay_owner']) {
    // For this database only, because all tests share the roles. This also overrides the role's general settings.
    for (const [setting, value] of Object.entries(HOSTILE)) {
      await sql.unsafe(`alter role ${role} in database ${name} set ${setting} = '${value}'`)
    }
  }
  t.same(await read('relay_api'), before)

  await migrate(urlOf('relay_owner'))
  const { relay, internal } = await startApi(t, { database: urlOf('relay_api') })
  const alice = await registerPeer(relay, 'alice')
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.own(alice), { status: 200, body: { email: alice.email } })
  t.match(await send(`${internal}/readyz`), { status: 200 })
})

t.test('an API with a wrong password answers 503', async (t) => {
  const { url } = await createDatabase(t)
  const wrong = Object.assign(new URL(url), { password: 'stolen' }).href
  const { relay, internal } = await startApi(t, { database: wrong })
  t.match(await relay.register(await createPeer('alice')), {
    status: 503,
    headers: { 'retry-after': '2' },
    body: { code: 'service_unavailable' }
  })
  t.match(await send(`${internal}/readyz`), { status: 503 })
})
