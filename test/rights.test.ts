import t from 'tap'
import { connect } from '../src/database.ts'
import { migrate } from '../src/migrate.ts'
import { createDatabase, createPeer, registerPeer, start, startApi } from './helper.ts'
import { linkIn, startMailer, startMailServer } from './mail.ts'

t.test('the API and the worker need no more than the rights of their roles', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  await sql`create role relay_api login password 'secret'`
  await sql`create role relay_cleanup login password 'secret'`
  await sql`create role relay_mailer login password 'secret'`
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

  const next = await createPeer('next')
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.keepCertificate(alice), { status: 204 })
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.own(next), { status: 200, body: { email: alice.email } })
  t.match(await relay.withdraw(bob), { status: 204 })
  t.match(await relay.unregister(bob), { status: 204 })

  const mail = await startMailServer(t)
  const verifying = await startApi(t, { database: urlOf('relay_api'), env: mail.env })
  await startMailer(t, urlOf('relay_mailer'), mail.env)
  const carol = await createPeer('carol')
  t.match(await verifying.relay.register(carol, { as: carol }), { status: 200 })
  await mail.next()
  t.match(await verifying.relay.register(carol), { status: 200 })
  const token = linkIn(await mail.next()).split('?')[1]
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  t.match(await verifying.relay.call('/email/verify', { body: token, headers: form }), { status: 200 })
  t.match(await verifying.relay.register({ ...carol, email: 'other@example.com' }, { as: carol }), { status: 409 })
  t.match(await verifying.relay.register(await createPeer('dora')), { status: 200 })
  await sql`update pending_registrations set expires_at = now()`
  await sql`update mail_counts set began_at = now() - interval '1 hour'`

  await sql`update broadcasts set last_heartbeat = now() - interval '2 s', expires_at = now() - interval '1 s'`
  const cleanup = start(t, 'src/cleanup.ts', { args: ['--once'], env: { DATABASE_URL: urlOf('relay_cleanup') } })
  t.match(await cleanup.ended, { code: 0, output: /"deleted":1,"msg":"expired b.*\n.*"deleted":1,"msg":"expired r/ })

  for (const [role, statements] of [
    [
      'relay_api',
      [
        'update clients set id = id',
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
        'select email from pending_registrations',
        'create table mine ()'
      ]
    ],
    [
      'relay_mailer',
      [
        'select from clients',
        'select certificate from pending_registrations',
        'insert into pending_registrations default values',
        "update pending_registrations set email = ''",
        'delete from pending_registrations',
        'select from mail_counts',
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
