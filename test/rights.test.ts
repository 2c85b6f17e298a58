import t from 'tap'
import { connect } from '../src/database.ts'
import { migrate } from '../src/migrate.ts'
import { createDatabase, createPeer, registerPeer, start, startApi } from './helper.ts'

t.test('the API and the worker need no more than the rights of their roles', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  await sql`create role relay_api login password 'secret'`
  await sql`create role relay_cleanup login password 'secret'`
  await migrate(url)
  const urlOf = (role: string) => Object.assign(new URL(url), { username: role, password: 'secret' }).href

  const { relay } = await startApi(t, { database: urlOf('relay_api') })
  const alice = await createPeer('alice')
  t.match(await relay.register({ ...alice, email: 'mallory@example.com' }), { status: 200 })
  t.match(await relay.register(alice, { as: alice }), { status: 200 }, 'with proof, over a claim')
  const bob = await registerPeer(relay, 'bob')
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.lookup(bob, alice.email), { status: 200 })
  t.match(await relay.list(bob), { status: 200, body: [{ email: alice.email }] })

  await sql`update broadcasts set last_heartbeat = now() - interval '2 s', expires_at = now() - interval '1 s'`
  const cleanup = start(t, 'src/cleanup.ts', { args: ['--once'], env: { DATABASE_URL: urlOf('relay_cleanup') } })
  t.match(await cleanup.ended, { code: 0, output: '"deleted":1' })

  for (const [role, statements] of [
    [
      'relay_api',
      [
        'delete from clients',
        'delete from broadcasts',
        "update clients set certificate = 'x'",
        'update broadcasts set client_id = client_id',
        'truncate broadcasts',
        'drop table broadcasts',
        'create table mine ()',
        'select from schema_migrations'
      ]
    ],
    [
      'relay_cleanup',
      [
        'select from clients',
        'delete from clients',
        'insert into broadcasts default values',
        'update broadcasts set port = 1',
        'drop table broadcasts',
        'create table mine ()'
      ]
    ]
  ] as [string, string[]][]) {
    const connection = connect(urlOf(role), { max: 1 })
    for (const statement of statements) {
      await t.rejects(connection.unsafe(statement), { code: '42501' }, `${role}: ${statement}`)
    }
    await connection.end()
  }
})
