import { join } from 'node:path'
import t from 'tap'
import { runAdmin } from '../../src/admin/admin-command.ts'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { startApi } from '../support/api.ts'
import { runInProcess } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'
import { linkIn, startMailer, startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer, signRotation } from '../support/peers.ts'
import { start } from '../support/process.ts'
import { createRoles } from '../support/roles.ts'

t.test('each process needs no more than the rights of its role', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  const urlOf = await createRoles(sql, url)
  await migrate(urlOf('relay_owner'))

  const { relay } = await startApi(t, { database: urlOf('relay_api') })
  const alice = await createPeer('alice')
  t.match(await relay.register({ ...alice, email: 'mallory@example.com' }), { status: 200 })
  t.match(await relay.register(alice, { as: alice }), { status: 200 }, 'with proof, displacing a claim')
  const bob = await registerPeer(relay, 'bob')
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.lookup(bob, alice.email), { status: 200 })
  t.match(await relay.list(bob), { status: 200, body: [{ email: alice.email }] })

  const next = await createPeer('next')
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.keepCertificate(alice), { status: 204 })
  t.match(await relay.certificate(alice, next, signRotation(alice, next)), { status: 200 })
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

  const admin = async (...args: string[]) => {
    const { code, stdout, stderr } = await runInProcess(runAdmin, args, { env: { DATABASE_URL: urlOf('relay_admin') } })
    t.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    return stdout + stderr
  }
  await admin('stats')
  await admin('clients', 'show', carol.email)
  await admin('clients', 'revoke', alice.email, '--reason', 'why')
  t.match(await relay.ready(next), { status: 401, body: { code: 'certificate_revoked' } })
  const file = join(t.testdir({}), 'clients')
  await admin('export', file)
  await admin('clients', 'restore', alice.email)
  await admin('clients', 'list')
  await admin('broadcasts', 'list')
  await admin('broadcasts', 'drop', alice.email, '--yes')
  await admin('clients', 'delete', alice.email, '--yes')
  t.match(await admin('import', file), /^1 added, 1 already there/m)
  await admin('doctor')
  t.match(await relay.ready(next), { status: 401, body: { code: 'certificate_revoked' } })
  t.match(await relay.ready(carol), { status: 200 })

  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() - interval '1 s'`
  const cleanup = start(t, 'src/processes/cleanup.ts', {
    args: ['--once'],
    env: { DATABASE_URL: urlOf('relay_cleanup') }
  })
  t.match(await cleanup.ended, { code: 0, output: /"deleted":1,"msg":"expired b.*\n.*"deleted":1,"msg":"expired r/ })

  for (const [role, statements] of [
    [
      'relay_api',
      [
        'update clients set id = id',
        'update clients set revoked_at = null',
        'update clients set revocation_reason = null',
        'insert into clients (revoked_at) values (now())',
        'update broadcasts set client_id = client_id',
        'truncate broadcasts',
        'drop table broadcasts',
        'create table mine ()',
        'select from schema_migrations',
        'select delete_expired_broadcasts(1)'
      ]
    ],
    [
      'relay_cleanup',
      [
        'select from clients',
        'delete from clients',
        'select email from pending_registrations',
        'select client_id from broadcasts',
        'insert into broadcasts default values',
        'update broadcasts set expires_at = now()',
        'delete from broadcasts',
        'delete from pending_registrations',
        'delete from mail_counts',
        'drop table broadcasts',
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
    ],
    [
      'relay_admin',
      [
        'update clients set email = email',
        'update clients set certificate = certificate',
        'insert into broadcasts default values',
        'update broadcasts set port = 1',
        'select certificate from pending_certificates',
        'select token_hash from pending_registrations',
        'insert into pending_registrations default values',
        'select from mail_counts',
        "update schema_migrations set md5 = ''",
        'truncate clients',
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
