import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import https from 'node:https'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { send, untilStatus } from '../support/http-client.ts'
import { startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { startStandalone } from '../support/standalone.ts'

/** The process id of a PostgreSQL. */
const postmaster = (dataDir: string) =>
  Number(readFileSync(join(dataDir, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0])

/** Each waits for its own processes most of the time. */
const ALONGSIDE = { buffered: true }
t.jobs = 3

t.test('npm start runs everything on one machine, and its data survive a restart', ALONGSIDE, async (t) => {
  const dir = t.testdir({})
  const first = await startStandalone(t, dir)
  await first.printed('Relay Tracker is ready')
  const ca = readFileSync(join(dir, '.data/ca.crt'))
  const verified = { agent: new https.Agent({ ca }), rejectUnauthorized: true }
  t.match(await send(`${first.origin}/`, verified), { status: 404 }, 'with the certificate that it made')
  t.equal(statSync(join(dir, '.data/server.key')).mode & 0o777, 0o600)
  t.equal(statSync(join(dir, '.data/database-url')).mode & 0o777, 0o600)
  const alice = await registerPeer(first.relay, 'alice')
  t.match(await first.relay.ready(alice), { status: 200 })

  const second = await startStandalone(t, dir)
  t.match(await second.ended, {
    code: 1,
    output: new RegExp(`^relay-tracker: DATA_DIR .data is in use by process ${first.child.pid} on .*\n$`)
  })

  await first.stop()
  t.notOk(existsSync(join(dir, '.data/postgres/data/postmaster.pid')), 'PostgreSQL has ended too')

  const third = await startStandalone(t, dir)
  await third.printed('Relay Tracker is ready')
  t.same(readFileSync(join(dir, '.data/ca.crt')), ca, 'the same server certificate')
  t.match(await third.relay.lookup(alice, alice.email), { status: 200, body: { fingerprint: alice.fingerprint } })

  third.child.kill('SIGKILL')
  await third.ended
  const fourth = await startStandalone(t, dir)
  await fourth.printed('Relay Tracker is ready')
  t.match(await fourth.relay.lookup(alice, alice.email), { status: 200 }, 'even after being killed')
  fourth.child.kill('SIGINT')
  t.match(await fourth.ended, { code: 0 })
})

t.test("a copy of a running service's folder is a service of its own", ALONGSIDE, async (t) => {
  const dir = t.testdir({})
  const original = await startStandalone(t, dir)
  await original.printed('Relay Tracker is ready')
  const alice = await registerPeer(original.relay, 'alice')
  const pid = postmaster(join(dir, '.data'))
  execFileSync('cp', ['-R', join(dir, '.data'), join(dir, 'copy')]) // less -p: permissions are those of the umask

  const copy = await startStandalone(t, dir, { DATA_DIR: 'copy' })
  await copy.printed('Relay Tracker is ready')
  t.match(await copy.relay.ready(alice), { status: 200 })
  t.equal(postmaster(join(dir, '.data')), pid)
  t.match(await original.relay.own(alice), { status: 404 }, 'the original goes on and knows nothing of the copy')
  await copy.stop()
  t.match(await original.relay.ready(alice), { status: 200 })
  await original.stop()

  rmSync(join(dir, 'copy/postgres/data/pg_wal'), { recursive: true })
  const damaged = await startStandalone(t, dir, { DATA_DIR: 'copy' })
  t.match(await damaged.ended, {
    code: 1,
    output: /relay-tracker: the embedded PostgreSQL failed: .*pg_wal.*\n$/
  })
})

t.test('npm start restarts its PostgreSQL when that dies', ALONGSIDE, async (t) => {
  const dir = t.testdir({})
  const standalone = await startStandalone(t, dir)
  await standalone.printed('Relay Tracker is ready')
  const alice = await registerPeer(standalone.relay, 'alice')
  process.kill(postmaster(join(dir, '.data')), 'SIGKILL')
  await standalone.printed('PostgreSQL has ended (SIGKILL), restarting; peers get 503 until it is back')
  await untilStatus(200, () => standalone.relay.ready(alice))

  rmSync(join(dir, '.data/postgres/data/postgresql.conf'))
  process.kill(postmaster(join(dir, '.data')), 'SIGKILL')
  const { code, output } = await standalone.ended
  t.equal(code, 1, 'or ends, if PostgreSQL does not come back')
  t.match(output, /relay-tracker: the embedded PostgreSQL does not stay up: .*postgresql\.conf/)
})

t.test('a taken port is reported before anything is started', ALONGSIDE, async (t) => {
  const dir = t.testdir({})
  const first = await startStandalone(t, dir)
  await first.printed('Relay Tracker is ready')
  const second = await startStandalone(t, dir, { PORT: new URL(first.origin).port, DATA_DIR: 'other' })
  t.match(await second.ended, { code: 1, output: /^relay-tracker: port \d+ on 127\.0\.0\.1 is taken: .*\n$/ })
  t.notOk(existsSync(join(dir, 'other/postgres')))
  await first.stop()
})

t.test("npm start takes the operator's certificate, and settings from the environment", ALONGSIDE, async (t) => {
  const { certificate, privateKey } = await createPeer('server', { hosts: ['127.0.0.1'] })
  const dir = t.testdir({ 'my.crt': certificate, 'my.key': privateKey })
  const paths = { TLS_CERT_PATH: join(dir, 'my.crt'), TLS_KEY_PATH: join(dir, 'my.key') }
  const mail = await startMailServer(t)
  const standalone = await startStandalone(t, dir, {
    ...paths,
    ...mail.env,
    DATA_DIR: 'elsewhere',
    DATABASE_URL: 'postgres://ignored'
  })
  await standalone.printed('Relay Tracker is ready')
  t.match(standalone.output(), paths.TLS_CERT_PATH)
  const agent = new https.Agent({ ca: certificate })
  t.match(await send(`${standalone.origin}/`, { agent, rejectUnauthorized: true } as object), { status: 404 })
  t.match(await standalone.relay.register(await createPeer()), { body: { email_verification: 'pending' } })
  t.match(await mail.next(), { subject: String })
  t.ok(existsSync(join(dir, 'elsewhere/database-url')))
  t.notOk(existsSync(join(dir, '.data')))
  await standalone.stop()
})

t.test('every failure ends npm start with one line', ALONGSIDE, async (t) => {
  const wrong = await startStandalone(t, t.testdir({}), { BROADCAST_TTL_SECONDS: 'long' })
  t.match(await wrong.ended, { code: 1, output: /^relay-tracker: BROADCAST_TTL_SECONDS: must be integer\n$/ })
  const half = await startStandalone(t, t.testdir({}), { TLS_KEY_PATH: 'my.key' })
  t.match(await half.ended, { code: 1, output: /^relay-tracker: TLS_CERT_PATH: must be set too.*\n$/ })
  const dir = t.testdir({ '.data': { postgres: { data: { PG_VERSION: '18' } } } })
  const broken = await startStandalone(t, dir)
  t.match(await broken.ended, { code: 1, output: /relay-tracker: the embedded PostgreSQL failed: .*postgresql\.conf/ })
  const changed = await startStandalone(t, t.testdir({ changed: {} }), { DATA_DIR: 'changed' })
  await changed.printed('Relay Tracker is ready')
  const sql = connect(readFileSync(join(t.testdirName, 'changed/database-url'), 'utf8'), { max: 1 })
  await sql`update schema_migrations set md5 = 'of another file' where version = 1`
  await sql.end()
  await changed.stop()
  const unmigrated = await startStandalone(t, t.testdirName, { DATA_DIR: 'changed' })
  t.match(await unmigrated.ended, { code: 1, output: /relay-tracker: MD5 checksum failed for migration \[1\]\n/ })
  t.notOk(existsSync(join(t.testdirName, 'changed/postgres/data/postmaster.pid')), 'and its PostgreSQL has ended')

  const exotic = await startStandalone(t, t.testdir({}), {
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import "data:text/javascript,Object.defineProperty(process,'arch',{value:'vax'})"`
  })
  t.match(await exotic.ended, { code: 1, output: /relay-tracker: no embedded PostgreSQL for linux-vax/ })
})

t.test(
  'root may run npm start',
  { ...ALONGSIDE, skip: process.getuid?.() === 0 ? false : 'these tests do not run as root' },
  async (t) => {
    t.test('it runs in a folder that only root may enter', async (t) => {
      const dir = t.testdir({})
      chmodSync(dir, 0o700)
      const standalone = await startStandalone(t, dir)
      await standalone.printed('Relay Tracker is ready')
      await standalone.stop()
    })

    t.test('it runs where user namespaces are forbidden, as in most containers', async (t) => {
      const dir = t.testdir({})
      const standalone = await startStandalone(t, dir, { PATH: '/nonexistent' })
      const nobodyEnters = spawnSync('/bin/ls', [dir], { uid: 65534 }).status === 0
      if (nobodyEnters) await standalone.printed('Relay Tracker is ready')
      else t.match(await standalone.ended, { code: 1, output: /PostgreSQL failed: .*(EACCES|Permission denied)/ })
      t.equal(statSync(join(dir, '.data/postgres')).uid, 65534)
      if (nobodyEnters) await standalone.stop()
    })
  }
)
