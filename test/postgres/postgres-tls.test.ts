import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { openClient } from '../../src/postgres/postgres-client.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { start } from '../support/process.ts'

/** Whether PostgreSQL sees an encrypted connection; fails as the service's queries would. */
async function isEncrypted(url: string) {
  const pool = createPool(url)
  const [row] = await pool.query<
    [{ ssl: boolean }]
  >()`select ssl from pg_stat_ssl where pid = pg_backend_pid()`.finally(pool.end)
  return row.ssl
}

/** Gives the shared PostgreSQL a certificate, which only affects those who ask for TLS. */
async function startTls(t: Test, { certificate, privateKey }: { certificate: string; privateKey: string }) {
  const sql = connect(process.env.TEST_DATABASE_URL as string, { max: 1, statementTimeout: 0 })
  t.teardown(() => sql.end())
  const save = (text: string, name: string) =>
    sql.unsafe(`copy (select unnest(string_to_array('${text.trim()}', e'\\n'))) to program 'umask 077; cat > ${name}'`)
  await save(certificate, 'test.crt')
  await save(privateKey, 'test.key')
  t.teardown(() => sql`select pg_reload_conf()`) // after those below, for the last comes first
  for (const [name, value] of [
    ['ssl_cert_file', 'test.crt'],
    ['ssl_key_file', 'test.key'],
    ['ssl', 'on']
  ]) {
    await sql.unsafe(`alter system set ${name} = '${value}'`)
    t.teardown(() => sql.unsafe(`alter system reset ${name}`))
  }
  const url = new URL(process.env.TEST_DATABASE_URL as string)
  url.search = 'sslmode=require'
  await sql`select pg_reload_conf()`
  await eventually(
    () => isEncrypted(url.href).catch(() => false),
    (encrypted) => encrypted
  )
}

/** A server for one test, which decides what happens to connections. */
async function listen(t: Test, onConnection: (socket: Socket) => void) {
  const server = createServer((socket) => onConnection(socket.on('error', () => {})))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return `postgres://relay:relay@127.0.0.1:${(server.address() as AddressInfo).port}/relay`
}

t.test('TLS to PostgreSQL', async (t) => {
  const { url, sql } = await createDatabase(t)
  const hosts = ['localhost', '127.0.0.1', '::1', new URL(url).hostname]
  const [server, stranger] = [
    await createSelfSigned({ commonName: 'server', hosts }),
    await createSelfSigned({ commonName: 'stranger', hosts: ['db.example.com'] })
  ]
  const dir = t.testdir({ 'server.crt': server.certificate, 'stranger.crt': stranger.certificate })
  const own = `sslrootcert=${join(dir, 'server.crt')}`
  const other = `sslrootcert=${join(dir, 'stranger.crt')}`
  const refused = (t: Test, query: string, reason: RegExp) =>
    t.rejects(isEncrypted(`${url}?${query}`), { code: 'DATABASE_NOT_TRUSTED', message: reason }, query)
  const [byAddress, byName] = ['127.0.0.1', 'localhost'].map((host) => url.replace(/@[^:/]+/, `@${host}`))

  await t.test('a server without TLS is refused, except with sslmode=prefer', async (t) => {
    t.equal(await isEncrypted(`${url}?sslmode=prefer`), false)
    for (const mode of ['require', `verify-ca&${own}`, `verify-full&${own}`]) {
      await refused(t, `sslmode=${mode}`, /^the database at [^ ]+ is not trusted: it has no TLS$/)
    }
  })

  await t.test('a server with the right certificate is accepted', async (t) => {
    await startTls(t, server)
    t.equal(await isEncrypted(url), false, 'nobody asked for it')
    t.equal(await isEncrypted(`${url}?sslmode=disable`), false)
    for (const query of [
      'sslmode=prefer',
      'sslmode=require',
      `sslmode=require&${own}`,
      `sslmode=verify-ca&${own}`,
      `sslmode=verify-full&${own}`
    ]) {
      t.equal(await isEncrypted(`${url}?${query}`), true, query)
      t.equal(await isEncrypted(`${byAddress}?${query}`), true, `${query}, to an IP address`)
      t.equal(await isEncrypted(`${byName}?${query}`), true, `${query}, to a name`)
    }

    await t.test('a server is refused if another authority is trusted', async (t) => {
      for (const query of [
        `sslmode=require&${other}`,
        `sslmode=verify-ca&${other}`,
        `sslmode=verify-full&${other}`,
        'sslrootcert=system'
      ]) {
        await refused(t, query, /^the database at [^ ]+ is not trusted: self-signed certificate/)
      }
      const migrate = start(t, 'src/processes/migrate.ts', {
        env: { DATABASE_URL: `${url}?sslmode=verify-full&${other}` }
      })
      const { code, output } = await migrate.ended
      t.equal(code, 1)
      t.match(output, /^relay-tracker: the database at [^ ]+ is not trusted: self-signed certificate.*\n$/)
      const api = await startApi(t, { database: `${url}?sslmode=verify-full&${other}` })
      t.equal((await fetch(`${api.internal}/readyz`)).status, 503)
    })

    await t.test('discarded connections are closed', async (t) => {
      const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
      const there = () => sql`select from pg_stat_activity where query like 'select pg_sleep(60)%'`
      await Promise.all([there(), there()]) // what looks has its connections
      const before = sockets()
      const client = openClient(`${url}?sslmode=verify-full&${own}`, { max: 2 })
      const queries = [1, 2].map(() => t.rejects(client.sql`select pg_sleep(60)`))
      await eventually(there, ({ count }) => count === 2)
      client.discard()
      await Promise.all(queries)
      await eventually(
        async () => sockets(),
        (count) => count <= before
      )
    })
  })

  await t.test('a server with the certificate of another host is refused by sslmode=verify-full', async (t) => {
    await startTls(t, stranger)
    t.equal(await isEncrypted(`${url}?sslmode=verify-ca&${other}`), true)
    await refused(t, `sslmode=verify-full&${other}`, /not trusted: Hostname\/IP does not match certificate's altnames/)
    await t.rejects(isEncrypted(`${byAddress}?sslmode=verify-full&${other}`), { code: 'DATABASE_NOT_TRUSTED' })
  })

  await t.test('a server that is silent or hangs up fails in time', async (t) => {
    const silent = await listen(t, (socket) => t.teardown(() => socket.destroy()))
    await t.rejects(isEncrypted(`${silent}?sslmode=require`), { code: 'CONNECT_TIMEOUT' })
    const closing = await listen(t, (socket) => socket.end())
    await t.rejects(isEncrypted(`${closing}?sslmode=require`), { code: 'ECONNRESET' })
    const halfway = await listen(t, (socket) => {
      socket.once('data', () => {
        socket.write('S')
        socket.once('data', () => socket.destroy())
      })
    })
    await t.rejects(isEncrypted(`${halfway}?sslmode=require`), { code: 'ECONNRESET' })
  })
})
