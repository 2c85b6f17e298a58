import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { lockFolder } from '../../src/runtime/data-folder.ts'
import { client, startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'

t.test('npm run certificate makes certificates for peers and servers', async (t) => {
  const cwd = t.testdir({})
  const run = (...args: string[]) => start(t, 'scripts/certificate.ts', { args, cwd }).ended
  const read = (file: string) => readFileSync(join(cwd, file), 'utf8')

  t.match(await run('alice'), { code: 0, output: 'certs/alice.crt\ncerts/alice.key\ncerts/alice.json\n' })
  t.equal(statSync(join(cwd, 'certs/alice.key')).mode & 0o777, 0o600)
  t.same(JSON.parse(read('certs/alice.json')), { email: 'alice@example.com', certificate: read('certs/alice.crt') })
  const { relay } = await startApi(t)
  t.match(await relay.call('/register', { body: read('certs/alice.json') }), { status: 200 })

  t.match(await run('bob', '--key', 'rsa-2048', '--email', 'bob@example.org', '--dir', 'here'), { code: 0 })
  t.equal(new X509Certificate(read('here/bob.crt')).publicKey.asymmetricKeyType, 'rsa')
  t.equal(JSON.parse(read('here/bob.json')).email, 'bob@example.org')

  t.match(await run('server', '--server', 'relay.example.com', '--server', '127.0.0.1'), {
    code: 0,
    output: 'certs/server.crt\ncerts/server.key\n'
  })
  t.ok(new X509Certificate(read('certs/server.crt')).checkHost('relay.example.com'))
  t.ok(new X509Certificate(read('certs/server.crt')).checkIP('127.0.0.1'))

  t.match(await run('server', '--server', 'relay.example.com'), { code: 0 }, 'again, to renew it')

  for (const help of ['--help', '-h']) t.match(await run(help), { code: 0, output: /^usage: npm run certificate/ })
  for (const args of [[], ['a', 'b'], ['a', '--key', 'rsa-1024'], ['ca'], ['ca', '--server', 'localhost']]) {
    t.match(await run(...args), { code: 1, output: /^relay-tracker: usage: npm run certificate/ })
  }
})

t.test('npm run certificate never replaces a key or a certificate of somebody else', async (t) => {
  const cwd = t.testdir({ certs: { 'carol.json': 'precious' } })
  const run = (...args: string[]) => start(t, 'scripts/certificate.ts', { args, cwd }).ended
  const files = () => readdirSync(join(cwd, 'certs')).sort()
  const read = (file: string) => readFileSync(join(cwd, 'certs', file), 'utf8')

  t.match(await run('alice'), { code: 0 })
  const alice = ['alice.crt', 'alice.key', 'alice.json']
  const before = alice.map(read)
  t.match(await run('alice'), {
    code: 1,
    output:
      /^relay-tracker: certs\/alice\.key exists already, and nothing was replaced: choose another name or --dir, or/
  })
  t.match(await run('alice', '--server', 'localhost'), {
    code: 1,
    output: /certs\/alice\.crt was not issued by certs\/ca\.crt, and is left alone: choose another name or --dir\n$/
  })
  t.same(alice.map(read), before)

  t.match(await run('carol'), { code: 1, output: /certs\/carol\.json exists already/ })
  t.same(
    files().filter((file) => file.startsWith('carol')),
    ['carol.json'],
    'no half of an identity'
  )
  t.equal(read('carol.json'), 'precious')
  t.match(await run('no/folder'), { code: 1, output: /ENOENT/ })

  const both = await Promise.all([run('bob'), run('bob')])
  t.same(both.map(({ code }) => code).sort(), [0, 1], 'of two processes at once, one makes it')
  t.ok(new X509Certificate(read('bob.crt')).checkPrivateKey(createPrivateKey(read('bob.key'))))

  lockFolder(join(cwd, 'certs'))
  t.match(await run('server', '--server', 'localhost'), {
    code: 1,
    output: 'relay-tracker: certs is in use by another process: try again when that has ended\n'
  })
})

t.test('npm run database can be run twice at once', async (t) => {
  const { url, sql } = await createDatabase(t)
  const fresh = new URL(url)
  fresh.pathname += '_new'
  const name = fresh.pathname.slice(1)
  t.teardown(() => sql`drop database if exists ${sql(name)} with (force)`)
  const cwd = t.testdir({})
  const setup = () => start(t, 'scripts/setup-database.ts', { env: { DATABASE_URL: fresh.href }, cwd }).ended
  const both = await sql.begin(async (transaction) => {
    // Nobody can create a database now, but see that it is not there.
    await transaction`lock table pg_database in share row exclusive mode`
    const running = [setup(), setup()]
    await eventually(
      () => sql`
        select from pg_stat_activity
        where wait_event_type = 'Lock' and query ~ ${`create database "${name}"|pg_advisory_lock\\(hashtext`}`,
      ({ count }) => count === 2
    )
    return { running }
  })
  for (const running of both.running) t.match(await running, { code: 0, output: `the database ${name} is ready\n` })
})

t.test('npm run database makes a database, and npm run sample-data fills it once', async (t) => {
  const { url, sql } = await createDatabase(t)
  const fresh = new URL(url)
  fresh.pathname += '_new'
  const name = fresh.pathname.slice(1)
  t.teardown(() => sql`drop database if exists ${sql(name)} with (force)`)
  const env = { DATABASE_URL: fresh.href }
  const setup = () => start(t, 'scripts/setup-database.ts', { env }).ended
  t.match(await setup(), { code: 0, output: `the database ${name} is ready\n` })
  t.match(await setup(), { code: 0, output: `the database ${name} is ready\n` }, 'and again')

  const sample = () => start(t, 'scripts/sample-data.ts', { env, args: ['--peers', '3'] }).ended
  t.match(await sample(), { code: 0, output: '3 sample peers added\n' })
  t.match(await sample(), { code: 0, output: '0 sample peers added\n' }, 'they exist already')
  const { origin } = await startApi(t, { database: fresh.href })
  const relay = client(`${origin}/api/relay`)
  const alice = await createPeer()
  await relay.register(alice)
  const emails = (await relay.list(alice)).body.map(({ email }: { email: string }) => email)
  t.same(
    emails.sort(),
    [1, 2, 3].map((n) => `sample-${n}@example.com`)
  )
})
