import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import https from 'node:https'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../src/database.ts'
import { freePort } from '../src/port.ts'
import { client, createPeer, registerPeer, send, start } from './helper.ts'
import { startMailServer } from './mail.ts'

async function startStandalone(t: Test, dir: string, env: NodeJS.ProcessEnv = {}) {
  const PORT = String(await freePort('127.0.0.1'))
  const standalone = start(t, 'src/standalone.ts', {
    cwd: dir,
    env: { PORT, INTERNAL_PORT: '0', LOG_LEVEL: 'warn', ...env }
  })
  // SIGKILL would leave its PostgreSQL behind.
  t.teardown(() => {
    standalone.child.kill('SIGTERM')
    return standalone.ended
  })
  /** Ends it as an operator does. */
  const stop = async () => {
    standalone.child.kill('SIGTERM')
    t.match(await standalone.ended, { code: 0 })
  }
  return {
    ...standalone,
    stop,
    origin: `https://127.0.0.1:${PORT}`,
    relay: client(`https://127.0.0.1:${PORT}/api/relay`)
  }
}

t.test('npm start: everything on one machine, and its data survive a restart', async (t) => {
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
  t.match(await fourth.relay.lookup(alice, alice.email), { status: 200 }, 'also after it was killed')
  fourth.child.kill('SIGINT')
  t.match(await fourth.ended, { code: 0 })
})

t.test('a port that is taken is told before anything is started', async (t) => {
  const dir = t.testdir({})
  const first = await startStandalone(t, dir)
  await first.printed('Relay Tracker is ready')
  const second = await startStandalone(t, dir, { PORT: new URL(first.origin).port, DATA_DIR: 'other' })
  t.match(await second.ended, { code: 1, output: /^relay-tracker: port \d+ on 127\.0\.0\.1 is taken: .*\n$/ })
  t.notOk(existsSync(join(dir, 'other/postgres')))
  await first.stop()
})

t.test('a certificate of the operator, and settings from the environment', async (t) => {
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

t.test('what fails ends it with one line', async (t) => {
  const wrong = await startStandalone(t, t.testdir({}), { BROADCAST_TTL_SECONDS: 'long' })
  t.match(await wrong.ended, { code: 1, output: /^relay-tracker: .*BROADCAST_TTL_SECONDS must be integer\n$/ })
  const dir = t.testdir({ '.data': { postgres: { data: { PG_VERSION: '18' } } } })
  const broken = await startStandalone(t, dir)
  t.match(await broken.ended, { code: 1, output: /relay-tracker: the embedded PostgreSQL failed/ })
  const changed = await startStandalone(t, t.testdir({ changed: {} }), { DATA_DIR: 'changed' })
  await changed.printed('Relay Tracker is ready')
  const sql = connect(readFileSync(join(t.testdirName, 'changed/database-url'), 'utf8'), { max: 1 })
  await sql`update schema_migrations set md5 = 'of another file' where version = 1`
  await sql.end()
  await changed.stop()
  const unmigrated = await startStandalone(t, t.testdirName, { DATA_DIR: 'changed' })
  t.match(await unmigrated.ended, { code: 1, output: /relay-tracker: MD5 checksum failed for migration \[1\]\n$/ })
  t.notOk(existsSync(join(t.testdirName, 'changed/postgres/data/postmaster.pid')), 'and its PostgreSQL has ended')

  const exotic = await startStandalone(t, t.testdir({}), {
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import "data:text/javascript,Object.defineProperty(process,'arch',{value:'vax'})"`
  })
  t.match(await exotic.ended, { code: 1, output: /relay-tracker: no embedded PostgreSQL for linux-vax/ })
})

t.test('as root', { skip: process.getuid?.() === 0 ? false : 'these tests do not run as root' }, async (t) => {
  t.test('in a folder that only root may enter', async (t) => {
    const dir = t.testdir({})
    chmodSync(dir, 0o700)
    const standalone = await startStandalone(t, dir)
    await standalone.printed('Relay Tracker is ready')
    await standalone.stop()
  })

  t.test('where user namespaces are forbidden, as in most containers', async (t) => {
    const dir = t.testdir({})
    const standalone = await startStandalone(t, dir, { PATH: '/nonexistent' })
    const nobodyEnters = spawnSync('/bin/ls', [dir], { uid: 65534 }).status === 0
    if (nobodyEnters) await standalone.printed('Relay Tracker is ready')
    else t.match(await standalone.ended, { code: 1, output: /PostgreSQL failed: .*(EACCES|Permission denied)/ })
    t.equal(statSync(join(dir, '.data/postgres')).uid, 65534)
    if (nobodyEnters) await standalone.stop()
  })
})
