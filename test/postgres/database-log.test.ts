import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createRegistrations } from '../../src/admin/registrations.repository.ts'
import { decodePem } from '../../src/identity/certificate.ts'
import { createToken, hashToken } from '../../src/identity/verification/verification-token.ts'
import { startEmbeddedPostgres } from '../../src/postgres/embedded-postgres.ts'
import { migrate } from '../../src/postgres/migrations.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { connect, json, type Sql } from '../../src/postgres/postgres-driver.ts'
import { createRepository } from '../../src/repository.ts'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { MAIL_SETTINGS } from '../support/mail.ts'
import { createPeer, type Peer } from '../support/peers.ts'
import { startOwnPostgres } from '../support/roles.ts'

/** A database URL for each role. */
type UrlOf = (role: 'relay_api' | 'relay_mailer' | 'relay_admin') => string

for (const version of [15, 18]) {
  t.test(`PostgreSQL ${version}`, { skip: skipWithoutContainers }, async (t) => {
    const server = await startOwnPostgres(t, `postgres:${version}`)
    const superuser = connect(server.url('postgres', 'postgres'), { max: 1, statementTimeout: 0 })
    t.teardown(() => superuser.end())
    const log = followLog(server.container.getId(), superuser)

    await t.test('no call makes PostgreSQL log a value or a constraint violation, whatever the role', async (t) => {
      await superuser`create database shared`
      await migrate(server.url('postgres', 'shared'))
      const secrets = await everyOutcome(t, () => server.url('postgres', 'shared'))
      const text = await log()
      t.match(text, /canceling statement due to lock timeout/, 'failures are there')
      t.notMatch(text, /duplicate key|violates (unique|check|not-null)/)
      t.same(found(text, secrets), [])
    })

    await t.test('the settings of the roles keep even the values of invalid statements out of the log', async (t) => {
      await server.createRoles()
      await migrate(server.url('relay_owner'))
      const before = (await log()).length
      await superuser`load 'auto_explain'`
      for (const [name, value] of NOISE) await superuser.unsafe(`alter system set ${name} = ${value}`)
      await superuser`select pg_reload_conf()`
      await eventually(
        () => superuser`select current_setting('log_min_duration_statement') as setting`,
        ([row]) => row?.setting === '0'
      )
      const secrets = await everyOutcome(t, server.url)
      secrets.push(...(await provoke(t, server.url('relay_api'))))
      const text = (await log()).slice(before)
      t.match(text, /take_over_certificate\(\$1\)/, 'every statement is there')
      t.match(text, /duplicate key value violates unique constraint "clients_email_key"/, 'and so is what was provoked')
      t.same(found(text, secrets), [])
    })
  })
}

t.test('the PostgreSQL of npm start logs no values', async (t) => {
  const lines: string[] = []
  const tell = (line: string) => void lines.push(line)
  const { url, stop } = await startEmbeddedPostgres(t.testdir({}), { info: tell, warn: tell, error: tell })
  t.teardown(stop)
  await migrate(url)
  const secrets = [...(await everyOutcome(t, () => url)), ...(await provoke(t, url))]
  t.same(found(lines.join('\n'), secrets), [])
  t.notMatch(lines.join('\n'), 'violates')
})

/** Settings that an operator may have turned on. */
const NOISE = [
  ['log_min_duration_statement', '0'],
  ['log_lock_waits', 'on'],
  ['deadlock_timeout', "'100ms'"],
  ['session_preload_libraries', 'auto_explain'],
  ['auto_explain.log_min_duration', '0'],
  ['auto_explain.log_nested_statements', 'on']
] as const

/** The secrets in a text. All addresses, and nothing else, have the same domain. */
const found = (text: string, secrets: string[]) =>
  ['@example', ...secrets].filter((secret) => text.toLowerCase().includes(secret.toLowerCase()))

/** Parts that would give a certificate away, as text and as PostgreSQL writes bytes. */
function partsOf({ certificate }: Peer) {
  const der = decodePem(certificate) as Buffer
  return [certificate.split('\n')[2] as string, der.subarray(60, 90).toString('hex')]
}

/** Makes everything happen that a caller can cause, including races; returns what must not be in a log. */
async function everyOutcome(t: Test, urlOf: UrlOf): Promise<string[]> {
  const sql = connect(urlOf('relay_api'), { max: 3, statementTimeout: 0 })
  t.teardown(() => sql.end())
  const patient = `${urlOf('relay_api')}?lock_timeout=0&statement_timeout=0`
  const { relay, origin } = await startApi(t, { database: patient })
  const verifying = await startApi(t, { database: patient, env: MAIL_SETTINGS })
  const names = ['alice', 'bob', 'carol', 'dora', 'next', 'last', 'late']
  const peers = await Promise.all(names.map((name) => createPeer(name)))
  const [alice, bob, carol, dora, next, last, late] = peers as [Peer, Peer, Peer, Peer, Peer, Peer, Peer]
  const conflict = (code: string) => ({ status: 409, body: { code } })

  await relay.register(alice, { as: alice })
  t.match(await relay.register(alice), conflict('already_registered'))
  t.match(await relay.register({ ...bob, email: alice.email }), conflict('email_taken'))
  t.match(await relay.register({ ...alice, email: bob.email }), conflict('certificate_taken'))
  await relay.register({ ...bob, email: 'claim@example.com' })
  t.match(await relay.register({ ...bob, email: alice.email }, { as: bob }), conflict('email_taken'), 'with proof')
  t.match(await relay.register(bob, { as: bob }), { status: 200 })
  t.match(await relay.certificate(alice, bob), conflict('certificate_taken'))
  t.match(await relay.certificate(alice, next), { status: 200 })
  t.match(await relay.certificate(bob, next), { status: 200 })
  await relay.ready(alice)
  t.match(await relay.lookup(bob, alice.email), { status: 200 })
  t.match(await relay.list(bob), { status: 200 })

  // Registered at the moment it takes over.
  await sql.begin(async (other) => {
    await other`insert into clients (email, certificate, not_before, not_after)
      select ${'thief@example.com'}, certificate, not_before, not_after from pending_certificates limit 1`
    const reply = relay.ready(next)
    await lockedOut(sql)
    await other`commit`
    t.match(await reply, { status: 200 })
  })

  const mailer = createPool(urlOf('relay_mailer'))
  t.teardown(mailer.end)
  const { pendingRegistrations } = createRepository(mailer)
  const tokens: string[] = []
  const confirm = () =>
    send(`${origin.replace(/\d+$/, String(verifying.port))}/api/relay/email/verify`, {
      body: `token=${tokens.at(-1)}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })
  const request = async (peer: Peer, email = peer.email) => {
    t.match(await verifying.relay.register({ ...peer, email }, { as: peer }), { status: 200 })
    tokens.push(createToken())
    t.ok(await pendingRegistrations.takeMail(hashToken(String(tokens.at(-1)))))
  }
  await request(carol)
  t.match(await confirm(), { status: 200 })
  t.match(await confirm(), { status: 404 })
  await request(dora)
  await request(dora, 'other@example.com')
  // Registered at the moment it is confirmed.
  await sql.begin(async (other) => {
    await other`insert into clients (email, certificate, not_before, not_after, proven_at)
      select ${'thief2@example.com'}, certificate, not_before, not_after, now() from pending_registrations limit 1`
    const reply = confirm()
    await lockedOut(sql)
    await other`commit`
    t.match(await reply, { status: 409 })
  })
  t.match(await confirm(), { status: 409 })

  // Removed at the moment it announces.
  await relay.register(late)
  await sql.begin(async (other) => {
    await other`delete from clients where email = ${late.email}`
    const reply = relay.ready(late)
    await lockedOut(sql)
    await other`commit`
    t.match(await reply, { status: 401 })
  })

  const admin = connect(urlOf('relay_admin'), { max: 1 })
  t.teardown(() => admin.end())
  const der = (decodePem(last.certificate) as Buffer).toString('base64')
  const validity = { common_name: null, not_before: new Date(Date.now() - 1000), not_after: new Date(Date.now() + 1e8) }
  const line = (email: string) => ({ email, fingerprint: last.fingerprint, certificate: der, ...validity })
  const added = await createRegistrations(admin).add([
    line(last.email),
    line(last.email),
    line(alice.email),
    line('new@example.com')
  ])
  t.same(added, ['added', 'present', 'email_taken', 'certificate_taken'])

  // A timeout and a deadlock.
  const hasty = await startApi(t, { database: urlOf('relay_api') })
  await sql.begin(async (other) => {
    await other`select from clients where email = ${bob.email} for update`
    t.match(await hasty.relay.unregister(bob), { status: 503 })
  })
  const slow = connect(urlOf('relay_api'), { max: 1, statementTimeout: 0.2 })
  await t.rejects(slow`select pg_sleep(60) from clients where email = ${alice.email}`, { code: '57014' })
  await slow.end()
  const visit = (first: string, second: string) =>
    sql.begin(async (transaction) => {
      await transaction`update clients set common_name = ${first} where email = ${first}`
      visited++
      await eventually(
        async () => visited,
        (count) => count >= 2
      )
      await transaction`update clients set common_name = ${second} where email = ${second}`
    })
  let visited = 0
  const visits = await Promise.allSettled([visit(alice.email, last.email), visit(last.email, alice.email)])
  t.match(
    visits.filter(({ status }) => status === 'rejected'),
    [{ reason: { code: '40P01' } }]
  )
  return [...peers.flatMap(partsOf), ...tokens, ...tokens.map((token) => hashToken(token).toString('hex'))]
}

/** Breaks every rule of the tables; returns what must not be in a log. */
async function provoke(t: Test, url: string): Promise<string[]> {
  const sql = connect(url, { max: 1 })
  t.teardown(() => sql.end())
  const peer = await createPeer('provoked')
  const der = decodePem(peer.certificate) as Buffer
  const [now, later] = [new Date(), new Date(Date.now() + 1e7)]
  const token = createToken()
  const hash = hashToken(token)
  const client = (email: string, certificate: Buffer, from = now, to: Date | null = later) => sql`
    insert into clients (email, certificate, not_before, not_after) values (${email}, ${certificate}, ${from}, ${to})`
  const pending = (email: string, certificate: Buffer, from = now, to: Date | null = later) => sql`
    insert into pending_registrations (email, certificate, not_before, not_after, expires_at, token_hash)
    values (${email}, ${certificate}, ${from}, ${to}, ${later}, ${hash})`
  await client(peer.email, der)
  await pending(peer.email, der)
  const other = Buffer.from('other')
  const large = Buffer.concat(Array(40).fill(der))
  for (const [code, statement] of [
    ['23505', client(peer.email, other)],
    ['23505', client('provoked2@example.com', der)],
    ['23514', client('PROVOKED@example.com', der)],
    ['23514', client('provoked3@example.com', large)],
    ['23514', client('provoked3@example.com', other, later, now)],
    ['23502', client('provoked3@example.com', other, now, null)],
    ['23505', pending(peer.email, der)],
    ['23505', pending('provoked2@example.com', der)],
    ['23514', pending('PROVOKED@example.com', der)],
    ['23502', pending('provoked3@example.com', other, now, null)],
    ['23505', sql`update clients set email = ${peer.email} where email <> ${peer.email}`],
    ['23505', sql`insert into mail_counts (subject) values (${`to ${peer.email}`}), (${`to ${peer.email}`})`],
    [
      '23514',
      sql`
      insert into pending_certificates (client_id, certificate, not_before, not_after)
      select id, certificate, not_after, not_before from clients where email = ${peer.email}`
    ],
    [
      '22P05',
      sql`select email from json_to_recordset(${json(sql, [{ email: 'provoked@example.com\0' }])}) r (email text)`
    ],
    ['22003', sql`select (length(${peer.email}) * 2147483647)::integer`],
    ['42703', sql`select nothing from clients where email = ${peer.email} and certificate = ${der}`]
  ] as [string, ReturnType<Sql>][]) {
    await t.rejects(statement, { code }, code)
  }
  return [...partsOf(peer), token, hash.toString('hex')]
}

/** Everything that a server has logged so far. */
function followLog(id: string, sql: Sql) {
  let marks = 0
  return async () => {
    const mark = `mark ${++marks} of the test`
    await sql.unsafe(`do $$ begin raise log '${mark}'; end $$`)
    const read = async () =>
      (await promisify(execFile)('sh', ['-c', 'docker logs "$0" 2>&1', id], { maxBuffer: 2 ** 26 })).stdout
    return eventually(read, (text) => text.includes(mark))
  }
}
