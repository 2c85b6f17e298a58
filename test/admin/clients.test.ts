import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { VERSION } from '../../src/runtime/version.ts'
import { startApi } from '../support/api.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { auditIn, startAdmin } from './helper.ts'

t.test('stats counts clients, certificates, broadcasts and what is pending', async (t) => {
  const { url, sql, admin, json } = await startAdmin(t)
  const { relay } = await startApi(t, { database: url })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const carol = await createPeer('carol')
  await relay.register(carol, { as: carol })
  await registerPeer(relay, 'dora')
  for (const peer of [alice, bob, carol]) await relay.ready(peer)
  await relay.certificate(alice, await createPeer('next'))
  await sql`update clients set revoked_at = now() where email = ${alice.email}`
  await sql`update clients set not_after = now() + interval '1 day', email_verified_at = now() where email = ${bob.email}`
  await sql`update clients set not_before = now() - interval '2 s', not_after = now() - interval '1 s' where email = 'dora@example.com'`
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() from clients
    where client_id = clients.id and email = ${carol.email}`
  await sql`
    insert into pending_registrations (email, certificate, not_before, not_after, expires_at)
    select email, certificate, not_before, not_after, now() + case email when ${bob.email} then interval '1 hour' else '0' end
    from clients where email in (${alice.email}, ${bob.email})`
  t.match(await json('stats'), [
    {
      clients: 4,
      revoked: 1,
      expired: 1,
      expire_within_30_days: 1,
      key_proven: 1,
      email_verified: 1,
      online: 1,
      broadcasts_to_clean_up: 1,
      pending_certificates: 1,
      pending_registrations: 1,
      schema_version: 16,
      database_bytes: Number
    }
  ])
  t.match(await admin(['stats']), { code: 0, stdout: /^clients: +4\nrevoked: +1\n/, stderr: '' })
})

t.test('clients list shows pages, and filters', async (t) => {
  const { url, sql, admin, json } = await startAdmin(t)
  const { relay } = await startApi(t, { database: url })
  const peers = []
  for (const name of ['alice', 'bob', 'carol', 'dora']) peers.push(await registerPeer(relay, name))
  const [alice, bob, carol, dora] = peers.map(({ email }) => email)
  await relay.ready(peers[0])
  await sql`update clients set revoked_at = now() where email = ${String(bob)}`
  await sql`update clients set not_after = now() + interval '2 days' where email = ${String(carol)}`
  await sql`update clients set not_before = now() + interval '1 day' where email = ${String(dora)}`
  const emails = async (...args: string[]) =>
    (await json('clients', 'list', ...args)).flatMap(({ clients }) =>
      clients.map(({ email }: { email: string }) => email)
    )
  const all = await json('clients', 'list')
  t.match(all, [
    {
      clients: [
        { id: String, email: alice, fingerprint: peers[0]?.fingerprint, state: 'in_force', online_until: String },
        { email: bob, state: 'revoked', revoked_at: String, online_until: null },
        { email: carol, state: 'in_force' },
        { email: dora, state: 'not_yet_valid' }
      ],
      next: null
    }
  ])
  t.equal(all[0].clients.length, 4)
  const first = await json('clients', 'list', '--limit', '3')
  t.match(first, [{ next: carol }])
  t.equal(first[0].clients.length, 3)
  t.match(await json('clients', 'list', '--after', String(carol)), [{ clients: [{ email: dora }], next: null }])
  t.same(await emails('--email', 'OR'), [dora])
  t.same(await emails('--fingerprint', String(peers[3]?.fingerprint.slice(0, 10))), [dora])
  t.same(await emails('--revoked'), [bob])
  t.same(await emails('--online'), [alice])
  t.same(await emails('--expires-within', '3'), [carol])
  t.same(await emails('--email', '%'), [])
  t.match(await admin(['clients', 'list', '--limit', '1']), {
    code: 0,
    stdout:
      /^E-MAIL +STATE +VALID UNTIL +ONLINE UNTIL +FINGERPRINT\nalice@example.com +in force +\d{4}-\d\d-\d\dT[\d:]{8}Z +\S+Z +\S{43}\n$/,
    stderr: 'There are more: --after alice@example.com\n'
  })
})

t.test('clients show finds a client by its address, id or fingerprint', async (t) => {
  const { url, sql, admin, json } = await startAdmin(t)
  const { relay } = await startApi(t, { database: url })
  const alice = await registerPeer(relay, 'alice')
  const { body } = await relay.ready(alice)
  const [row] = await sql`select id from clients`
  await sql`update clients set common_name = ${'a\u001b[31mb'}`
  const words = await admin(['clients', 'show', 'Alice@Example.com'])
  t.match(words, {
    code: 0,
    stdout:
      /^e-mail: +alice@example\.com\n(.*\n)+revoked: +-\n(.*\n)+listens at: +192\.168\.1\.20 2001:db8::20 port 54321\n/
  })
  t.match(words.stdout, 'a\uFFFD[31mb', 'nothing that a terminal obeys')
  t.match(words.stdout, /next certificate: +-\n/)
  t.notMatch(words.stdout, 'BEGIN CERTIFICATE')
  const next = await createPeer('next')
  await relay.certificate(alice, next)
  await relay.withdraw(alice)
  const shown = {
    id: row?.id,
    fingerprint: alice.fingerprint,
    state: 'in_force',
    pending_certificate: { fingerprint: next.fingerprint },
    broadcast: null
  }
  t.ok(body.broadcast_id)
  t.match(await json('clients', 'show', row?.id), [shown])
  t.match(await json('clients', 'show', alice.fingerprint), [shown])
  t.match(await admin(['clients', 'show', alice.fingerprint]), { stdout: next.fingerprint })
})

t.test('a fingerprint that begins with a dash is not read as an option', async (t) => {
  const { sql, admin, json } = await startAdmin(t)
  const [help, long] = ['-h6xZg5aEEyq3D2Y9nkqFhAj-ZZcin2p18tFXGhcGtA', '--aXQp8WFBvHHjuR84I2QcjdJY3Vi_B2JBUUdUlUy4w']
  await sql`
    insert into clients (email, certificate, not_before, not_after)
    select n || '@example.com', convert_to(n, 'utf8'), now(), now() + interval '1 hour' from unnest('{9674,589}'::text[]) n`
  t.match(await json('clients', 'show', help), [{ email: '9674@example.com', fingerprint: help }])
  t.match(await admin(['clients', 'show', '--', long]), { code: 0, stdout: '589@example.com' })
  t.match(await json('clients', 'list', '--fingerprint', long), [{ clients: [{ fingerprint: long }] }])
  const deleted = await admin(['clients', 'delete', help, '589@example.com', '--yes'])
  t.match(deleted, { code: 0, stdout: /^9674@example\.com is deleted$/m })
  t.match(deleted.stdout, /^589@example\.com is deleted$/m)
})

t.test('clients delete asks, and frees what the client had', async (t) => {
  const { url, sql, admin, json, onTerminal } = await startAdmin(t)
  const { relay } = await startApi(t, { database: url })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  await registerPeer(relay, 'carol')
  await relay.ready(alice)
  await sql`
    insert into pending_registrations (email, certificate, not_before, not_after, expires_at)
    select 'other@example.com', certificate, not_before, not_after, now() + interval '1 hour' from clients`
  const count = async () => (await sql`select from clients`).count

  t.match(await admin(['clients', 'delete', alice.email]), {
    code: 4,
    stdout: '',
    stderr: 'relay-admin: there is no terminal to ask on: add --yes\n'
  })
  t.match(await onTerminal(`clients delete ${alice.email}`, 'n\n'), {
    code: 4,
    output: /Delete alice@example\.com\? \[y\/N\].*nothing was changed/s
  })
  t.match(await onTerminal(`clients delete ${alice.email}`, '\u0003'), { code: 4, output: /nothing was changed/ })
  t.equal(await count(), 3)
  t.match(await onTerminal(`clients delete ${alice.email}`, 'y\n'), {
    code: 0,
    output: /alice@example\.com is deleted/
  })
  t.match(await relay.ready(alice), { status: 401, body: { code: 'certificate_unknown' } })
  t.match(await sql`select from pending_registrations`, { count: 2 }, 'also what was pending with its certificate')

  const unknown = await admin(['clients', 'delete', 'carol@example.com', 'nobody@example.com', '--yes'])
  t.match(unknown, { code: 3, stderr: 'relay-admin: there is no client nobody@example.com\n' })
  t.equal(await count(), 2, 'all or nothing')
  const deleted = await admin(['clients', 'delete', 'carol@example.com', bob.fingerprint, '--yes'])
  t.match(deleted, { code: 0, stdout: 'carol@example.com is deleted\nbob@example.com is deleted\n' })
  t.match(auditIn(deleted.stderr), [
    { level: 30, audit: true, event: 'delete', clientId: String, fingerprint: String },
    { level: 30, audit: true, event: 'delete', clientId: String, fingerprint: bob.fingerprint }
  ])
  t.notMatch(deleted.stderr, 'example.com')
  t.match(await json('clients', 'list'), [{ clients: [], next: null }])
  t.match(await relay.register(alice), { status: 200 })
})

t.test('a client that leaves while it is being deleted has gone by itself', async (t) => {
  const { url, sql, admin } = await startAdmin(t)
  const { relay } = await startApi(t, { database: url })
  const alice = await registerPeer(relay, 'alice')
  const client = connect(url, { max: 1 })
  t.teardown(() => client.end())
  await client.begin(async (leaving) => {
    await leaving`delete from clients`
    const deleted = admin(['clients', 'delete', alice.email, '--yes'])
    await eventually(
      () => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      ({ count }) => count === 1
    )
    await leaving`commit`
    t.same(await deleted, { code: 0, stdout: 'alice@example.com was already gone\n', stderr: '' })
  })
})

t.test('each kind of failure has its message and its exit code', async (t) => {
  const { admin } = await startAdmin(t)
  for (const [line, ended] of [
    ['--help', { code: 0, stdout: /Exit codes:\n {2}0 {2}done\n/ }],
    ['--version', { code: 0, stdout: `${VERSION}\n` }],
    ['clients', { code: 2, stdout: '', stderr: /^Usage: relay-admin clients/ }],
    ['clients forget', { code: 2, stderr: /unknown command 'forget'/ }],
    [
      'clients show alice',
      { code: 2, stderr: 'alice is not an e-mail address, a fingerprint or the id of a client\n' }
    ],
    ['clients list --limit 0', { code: 2, stderr: 'relay-admin: 0 is not a whole number from 1 to 1000\n' }],
    ['clients list --limit 1001', { code: 2 }],
    [
      `clients revoke a@example.com --reason ${'x'.repeat(501)}`,
      { code: 2, stderr: 'a reason has 1 to 500 characters\n' }
    ],
    ['import missing', { code: 1, stderr: /ENOENT/ }],
    ['clients show a@b.c --json', { code: 3, stderr: '{"error":"there is no client a@b.c","code":"not_found"}\n' }]
  ] as const) {
    t.match(await admin(line.split(' ')), ended, line)
  }
  const away = { env: { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay' } }
  t.match(await admin(['stats'], away), { code: 5, stderr: /^relay-admin: .*ECONNREFUSED/ })
})

t.test('the command as a process ends with these exit codes, and reads .env', async (t) => {
  const { cwd, inShell } = await startAdmin(t)
  t.match(await inShell('command clients --help'), { codes: '0', stdout: /^Usage: relay-admin clients/, stderr: '' })
  const stderr = `{"error":"unknown command 'forget'","code":"usage"}\n`
  t.same(await inShell('command clients forget --json'), { codes: '2', stdout: '', stderr })
  writeFileSync(join(cwd, '.env'), 'TLS_CERT_PATH=server.crt\n')
  t.match(await inShell('command stats'), { codes: '1', stderr: /^relay-admin: TLS_CERT_PATH: ENOENT/ })
})
