import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { checkQueue, checkRoles, checkServer } from '../../src/admin/check-database.ts'
import { createDiagnosis } from '../../src/admin/diagnosis.repository.ts'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { startServer } from '../peer/helper.ts'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { startEdge } from '../support/edge.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { addPeers } from '../support/many-peers.ts'
import { createRoles, ROLES, startOwnPostgres } from '../support/roles.ts'
import { startAdmin } from './helper.ts'

interface Finding {
  check: string
  status: string
  message: string
  remedy?: string
}

/** The findings of `doctor --json`, by what was checked. */
function byCheck(stdout: string) {
  const findings: Finding[] = JSON.parse(stdout)
  return Object.fromEntries(findings.map(({ check, ...finding }) => [check, finding]))
}

function problemsIn(stdout: string): Finding[] {
  return JSON.parse(stdout).filter(({ status }: Finding) => status === 'problem')
}

/** A database with all roles, for which nothing has to be known of the server's others. */
async function createDatabaseWithRoles(t: Test) {
  const { url, sql } = await createDatabase(t, { empty: true })
  const urlOf = await createRoles(sql, url)
  await migrate(urlOf('relay_owner'))
  return { url, sql, urlOf }
}

t.test('doctor finds a new database in order, and says how to fix rights that were changed', async (t) => {
  const { url, sql, urlOf } = await createDatabaseWithRoles(t)
  const { admin } = await startAdmin(t, urlOf('relay_admin'))
  const { host } = new URL(url)
  const healthy = await admin(['doctor'])
  t.match(healthy, { code: 0, stderr: '' })
  t.match(healthy.stdout.split('\n'), [
    new RegExp(`^ok +database +PostgreSQL \\d+\\.\\d+ at ${host}, as relay_admin$`),
    /^ok +clock +the database's clock differs by -?\d+ ms from this machine's$/,
    /^ok +notifications +the notification queue is 0 % full$/,
    /^ok +migrations +all 16 are applied, and unchanged$/,
    // A run's databases are all on one server.
    /^note +rights +the tracker's roles may also connect to .*postgres/,
    /^ +revoke connect on database … from public, unless others need it$/,
    /^ok +certificates +0 of 0 clients' certificates have expired, and 0 will within 30 days$/
  ])

  await sql`grant update on clients to relay_api`
  await sql`revoke delete on broadcasts from relay_admin`
  await sql`insert into clients (email, certificate, not_before, not_after) values
    ('alice@example.com', 'a', now() - interval '2 days', now() - interval '1 day'),
    ('bob@example.com', 'b', now(), now() + interval '1 day')`
  const ill = await admin(['doctor'])
  t.match(ill, { code: 1, stderr: 'relay-admin: 2 of 8 checks found a problem\n' })
  t.match(ill.stdout, /problem +rights +relay_admin may not delete broadcasts\n +npm run migrate/)
  t.match(ill.stdout, /problem +rights +relay_api may revoke and restore clients\n +take back/)
  t.match(
    ill.stdout,
    /note +certificates +1 of 2 clients' certificates have expired, and 1 will within 30 days\n +peers have to/
  )
  await migrate(urlOf('relay_owner'))
  t.match(await admin(['doctor']), { code: 0 }, 'as it says: migrations mend rights')
})

t.test('doctor finds what roles may do beyond what they need', async (t) => {
  const { sql, urlOf } = await createDatabaseWithRoles(t)
  const { admin } = await startAdmin(t, urlOf('relay_admin'))
  const [{ name }] = await sql<[{ name: string }]>`select current_database() as name`
  await sql`grant update, truncate on broadcasts to relay_cleanup`
  await sql`grant select (token_hash) on pending_registrations to public`
  await sql`grant execute on function delete_expired_broadcasts(integer) to public`
  await sql`revoke execute on function delete_mail_counts(integer) from relay_cleanup`
  await sql`alter function notify_client() reset search_path`
  await sql`grant create on schema public to relay_mailer`
  await sql`grant temporary on database ${sql(name)} to relay_api`
  await sql`grant connect on database ${sql(name)} to public`
  await sql`grant execute on function lo_create(oid) to relay_mailer`
  await sql`grant execute on function pg_logical_emit_message(boolean, text, bytea, boolean) to relay_cleanup`
  await sql`alter role relay_api in database ${sql(name)} set search_path = nowhere`
  await sql`alter role relay_owner in database ${sql(name)} set default_transaction_read_only = on`
  const { code, stdout } = await admin(['doctor'])
  t.equal(code, 1)
  for (const line of [
    /^problem +rights +relay_cleanup may not call delete_mail_counts\n +npm run migrate/m,
    /^problem +rights +everybody may select pending_registrations, relay_cleanup may truncate .*update broadcasts\n +take/m,
    /^problem +rights +roles other than relay_cleanup may call delete_expired_broadcasts\n +take back/m,
    /^problem +rights +a caller can redirect the names in notify_client\n +alter function/m,
    /^problem +rights +relay_mailer: may create tables and functions\n +an administrator runs/m,
    /^problem +rights +relay_api: may create temporary tables\n +an administrator runs/m,
    new RegExp(`^problem +rights +everybody may connect to ${name}\n +an administrator runs`, 'm'),
    /^note +rights +relay_mailer: may create large objects, without limit\n +a superuser runs/m,
    /^note +rights +relay_cleanup: may write to the write-ahead log, without limit\n +a superuser runs/m,
    /^problem +rights +not as .*roles\.sh sets it: default_transaction_read_only of relay_owner, search_path of relay_api\n +an/m
  ]) {
    t.match(stdout, line)
  }
})

t.test('doctor ignores what belongs to others', async (t) => {
  const { sql, urlOf } = await createDatabaseWithRoles(t)
  const { admin } = await startAdmin(t, urlOf('relay_admin'))
  const [{ name }] = await sql<[{ name: string }]>`select current_database() as name`
  await sql`create function of_an_extension() returns integer security definer return 1`
  const { code, stdout } = await admin(['doctor'])
  t.equal(code, 0)
  t.notMatch(stdout, 'of_an_extension')
  t.notMatch(stdout, name, 'the roles are meant to connect to it')
})

t.test('a diagnosis goes on when some other database is dropped meanwhile', async (t) => {
  const { url, sql } = await createDatabaseWithRoles(t)
  const other = `${new URL(url).pathname.slice(1)}_dropped`
  await sql`create database ${sql(other)}`
  const session = connect(url, { max: 1 })
  t.teardown(() => session.end())
  await session`begin isolation level repeatable read`
  await session`select from pg_database`
  await sql`drop database ${sql(other)}`
  t.match(await session`select from pg_database where datname = ${other}`, { count: 1 }, 'the session still sees it')
  t.type(await createDiagnosis(session).flaws(ROLES, [], []), Array)
})

t.test('doctor finds roles that may do more, or connect without limit', { skip: skipWithoutContainers }, async (t) => {
  const server = await startOwnPostgres(t)
  await server.createRoles()
  await migrate(server.url('relay_owner'))
  const { admin } = await startAdmin(t, server.url('relay_admin'))
  t.match((await admin(['doctor'])).stdout, /^ok +rights .*: what each needs, and no more$/m)
  const sql = connect(server.url('postgres'), { max: 1 })
  t.teardown(() => sql.end())
  await sql`alter role relay_api createdb connection limit 80`
  await sql`alter role relay_mailer connection limit -1`
  await sql`alter role relay_mailer reset log_error_verbosity`
  await sql`alter role relay_mailer reset temp_file_limit`
  await sql`alter role relay_cleanup reset log_parameter_max_length_on_error`
  await sql`alter role relay_api set lock_timeout = 0`
  await sql`grant pg_monitor to relay_cleanup`
  const { code, stdout } = await admin(['doctor'])
  t.equal(code, 1)
  for (const line of [
    /^problem +rights +relay_api: may do more than log in\n +alter role/m,
    /^problem +rights +relay_cleanup is a member of pg_monitor\n +revoke/m,
    /^problem +rights +relay_mailer: may take every connection\n +an administrator runs/m,
    /^note +rights +the values of relay_mailer's failed statements are in PostgreSQL's log\n +a superuser runs/m,
    /^note +rights +relay_mailer: may create temporary files, without limit\n +a superuser runs/m,
    /^problem +rights +not as .*: lock_timeout of relay_api, log_parameter_max_length_on_error of relay_cleanup\n/m,
    /^problem +rights +the roles' limits allow 89 of 47 connections: .*\n +raise max_connections/m
  ]) {
    t.match(stdout, line)
  }

  // As with managed PostgreSQL: for the whole server, and for no role.
  for (const role of ROLES) await sql`alter role ${sql(role)} reset log_error_verbosity`
  await sql`alter system set log_error_verbosity = terse`
  await sql`select pg_reload_conf()`
  await eventually(
    () => admin(['doctor']),
    ({ stdout }) => !stdout.includes("PostgreSQL's log")
  )
})

t.test('doctor finds a database that is unavailable, not migrated, altered, or of another version', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  const { admin } = await startAdmin(t, url)
  const doctor = async (DATABASE_URL: string) => {
    const { code, stdout } = await admin(['doctor', '--json'], { env: { DATABASE_URL } })
    t.equal(code, 1)
    t.notMatch(stdout, 'wrong')
    return byCheck(stdout)
  }
  t.match(await doctor('postgres://relay@127.0.0.1:1/relay'), {
    database: { status: 'problem', message: /ECONNREFUSED/, remedy: /whether PostgreSQL runs/ }
  })
  t.match(await doctor(Object.assign(new URL(url), { password: 'wrong' }).href), {
    database: { status: 'problem', message: /password/, remedy: /the right user/ }
  })
  t.match(await doctor(url), { migrations: { status: 'problem', message: 'none was ever applied' } })

  await migrate(url)
  await sql`update schema_migrations set md5 = 'other' where version = 9`
  await sql`delete from schema_migrations where version = 12`
  await sql`insert into schema_migrations (version, md5) values (999, 'new')`
  const { stdout } = await admin(['doctor'])
  t.match(stdout, /problem +migrations +009\.do\.list\.sql was altered after it was applied\n/)
  t.match(stdout, /problem +migrations +012\.do\.certificate-validity\.sql is not applied\n +npm run migrate/)
  t.match(stdout, /note +migrations +1 are from a newer version\n/)
})

t.test('doctor notes peers that a gateway hides', async (t) => {
  const { url, sql } = await createDatabase(t)
  const { admin } = await startAdmin(t, url)
  await addPeers(sql, 60)
  await sql`update broadcasts set observed_address = '172.18.0.1'
    where client_id in (select client_id from broadcasts order by client_id limit 19)`
  await sql`update broadcasts set observed_address = '203.0.113.9' where observed_address is distinct from '172.18.0.1'`
  t.notMatch((await admin(['doctor'])).stdout, 'callers')
  await sql`update broadcasts set observed_address = '172.18.0.1'
    where client_id in (select client_id from broadcasts where observed_address = '203.0.113.9' limit 1)`
  t.match(
    (await admin(['doctor'])).stdout,
    /note +callers +20 peers are online at one private address, 172\.18\.0\.1: .*\n +then they share/
  )
  await sql`update broadcasts set created_at = now() - interval '2 hours', last_announced_at = now() - interval '2 hours',
    expires_at = now() - interval '1 hour'`
  t.notMatch((await admin(['doctor'])).stdout, 'callers', 'who is offline says nothing of today')
})

t.test('doctor notes a transaction that lasts long', async (t) => {
  const { url, sql } = await createDatabase(t)
  // An hour goes by.
  await sql`create schema later`
  await sql.unsafe(`create view later.pg_stat_activity as
    select datname, pid, usename, application_name, backend_type, xact_start - interval '1 hour' as xact_start from pg_stat_activity`)
  const { admin } = await startAdmin(t, `${url}?search_path=later,pg_catalog,public`)
  const check =
    /^note +transactions +process (\d+) \(role \w+, application relay-tracker\) has been in a transaction since 20.*\n +calls and/m
  await sql.begin(async (transaction) => {
    const [session] = await transaction`select pg_backend_pid() as pid`
    t.match((await admin(['doctor'])).stdout, new RegExp(`transactions +process ${session?.pid} `))
    t.match((await admin(['doctor'])).stdout, check)
  })
})

t.test('doctor notes missing roles', async (t) => {
  t.match(checkRoles(['relay_api', 'relay_mailer']), [
    { status: 'note', message: /^there is no role relay_cleanup, relay_admin: / }
  ])
  t.same(checkRoles(ROLES), [])
})

t.test('doctor finds a notification queue that a session holds up', async (t) => {
  t.match(checkQueue(0.1), { status: 'ok' })
  t.match(checkQueue(0.11), {
    status: 'problem',
    message: 'the notification queue is 11 % full',
    remedy: /end the session/
  })
})

t.test('doctor finds a server that is too old, or a standby', async (t) => {
  const server = { version: 180_001, user: 'relay', isReadOnly: false }
  t.match(checkServer('db', server), { status: 'ok', message: 'PostgreSQL 18.1 at db, as relay' })
  t.match(checkServer('db', { ...server, version: 140_012 }), { status: 'problem', remedy: /upgrade/ })
  t.match(checkServer('db', { ...server, isReadOnly: true }), { status: 'problem', message: /standby/ })
})

t.test('doctor finds clocks that differ, and server certificates that are not valid or not for long', async (t) => {
  const { admin, cwd } = await startAdmin(t)
  const DAY = 86_400_000
  const certificate = async (name: string, notBefore: Date, days: number) => {
    const pems = await createSelfSigned({ commonName: 'localhost', notBefore, days })
    writeFileSync(join(cwd, `${name}.crt`), pems.certificate)
    writeFileSync(join(cwd, `${name}.key`), pems.privateKey)
    return { TLS_CERT_PATH: join(cwd, `${name}.crt`), TLS_KEY_PATH: join(cwd, `${name}.key`) }
  }
  const { now } = Date
  const { restore } = t.capture(Date, 'now', () => now() + 60_000)
  const good = await admin(['doctor'], { env: await certificate('good', new Date(), 365) })
  restore()
  t.equal(good.code, 1)
  t.match(
    good.stdout,
    /problem +clock +the database's clock differs by -(59|60)\d\d\d ms from this machine's\n +let both follow NTP/
  )
  t.match(good.stdout, /ok +server certificate +valid until \d{4}-\d\d-\d\d\n/)
  for (const [name, begin, days, message] of [
    ['old', -20, 10, /problem +server certificate +it expired on /],
    ['soon', -1, 3.5, /problem +server certificate +it expires within 3 days, on /],
    ['later', 1, 365, /problem +server certificate +it is not valid before /]
  ] as const) {
    const env = await certificate(name, new Date(now() + begin * DAY), days)
    t.match(await admin(['doctor'], { env }), { code: 1, stdout: message })
  }
})

t.test('doctor finds our own edge in order', { skip: skipWithoutContainers }, async (t) => {
  const { nginx, port } = await startEdge(t)
  const { urlOf } = await createDatabaseWithRoles(t)
  // Not as relay_admin, whose connections are few, and those of all tests.
  const { admin, cwd } = await startAdmin(t, urlOf('relay_owner'))
  const { output } = await nginx.exec(['cat', '/etc/nginx/tls/ca.crt'])
  writeFileSync(join(cwd, 'server.crt'), output)
  const edge = `https://localhost:${port}`
  const doctor = (...args: string[]) => admin(['doctor', '--json', '--edge', ...args])
  const well = {
    'edge certificate': { status: 'ok' },
    'edge name': { status: 'ok' },
    edge: { status: 'ok', message: /^a tracker answers at https:/ },
    'edge headers': { status: 'ok' },
    'edge paths': { status: 'ok' }
  }
  const trusted = await doctor(edge, '--ca', join(cwd, 'server.crt'))
  t.same(problemsIn(trusted.stdout), [])
  t.equal(trusted.code, 0)
  t.match(byCheck(trusted.stdout), { ...well, 'edge trust': { status: 'ok' } })
  t.match(byCheck((await doctor(`https://127.0.0.1:${port}`)).stdout), {
    ...well,
    'edge trust': { status: 'note', message: /UNABLE_TO_VERIFY_LEAF_SIGNATURE/, remedy: /--ca/ }
  })
  const misnamed = await doctor(edge, '--server-name', 'relay.example.com')
  t.equal(misnamed.code, 1)
  t.match(byCheck(misnamed.stdout), {
    ...well,
    'edge name': { status: 'problem', message: 'its certificate is not for relay.example.com' }
  })
})

t.test('doctor finds an edge that passes everything on', async (t) => {
  const { url, admin } = await startAdmin(t)
  const { origin, internal } = await startApi(t, { database: url })
  const { url: edge } = await startServer(t, async (request, response) => {
    const base = request.url?.startsWith('/api/') ? origin : internal
    const { status, body } = await send(base + request.url, { headers: request.headers })
    response.writeHead(status).end(JSON.stringify(body))
  })
  const { code, stdout } = await admin(['doctor', '--json', '--edge', edge])
  t.equal(code, 1)
  t.match(byCheck(stdout), {
    edge: { status: 'ok' },
    'edge headers': { status: 'problem', message: 'the API believes what a caller sends as x-ssl-cert' },
    'edge paths': { status: 'problem', message: 'it passes /livez, /readyz, /metrics, /openapi.json on' }
  })
})

t.test('doctor finds that what answers is no edge', async (t) => {
  const { admin } = await startAdmin(t)
  const mute = createServer().listen(0, '127.0.0.1')
  t.teardown(() => mute.close())
  await once(mute, 'listening')
  const { port } = mute.address() as AddressInfo
  const page = await startServer(t, (_, response) => response.end(`<!doctype html>${' '.repeat(100_000)}`))
  const silent = await startServer(t, () => {})
  const doctor = async (edge: string) => byCheck((await admin(['doctor', '--json', '--edge', edge])).stdout)
  t.match(await doctor(page.url), {
    edge: { status: 'problem', message: 'what answers there is not a tracker: status 200' }
  })
  for (const url of [silent.url, `https://127.0.0.1:${port}`]) {
    t.match(await doctor(url), { edge: { status: 'problem', message: /timeout/ } })
  }
  t.match(await doctor('https://[::1]'), { edge: { status: 'problem', message: /^https:\/\/\[::1\]: / } })
  const http = await admin(['doctor', '--edge', 'http://localhost'])
  t.match(http, { code: 2, stderr: 'relay-admin: http://localhost is not a URL that begins with https://\n' })
  t.match(await admin(['doctor', '--ca', 'missing']), { code: 2, stderr: /^relay-admin: --ca: ENOENT/ })
})
