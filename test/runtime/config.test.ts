import { join } from 'node:path'
import t from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { loadConfig } from '../../src/runtime/config.ts'

const DATABASE_URL = 'postgres://relay@localhost/relay'

t.test('the defaults are those of docs/CONFIGURATION.md', async (t) => {
  const { isTrustedProxy, ...config } = await loadConfig({ DATABASE_URL })
  t.same(config, {
    DATABASE_URL,
    HOST: '127.0.0.1',
    PORT: 3000,
    INTERNAL_HOST: '127.0.0.1',
    INTERNAL_PORT: 3003,
    CLEANUP_PORT: 3001,
    MAILER_PORT: 3002,
    CLIENT_CERT_FORMAT: 'nginx',
    TRUSTED_PROXIES: 'loopback,uniquelocal',
    REGISTRATION_PROOF: 'optional',
    BROADCAST_TTL_SECONDS: 3600,
    CLEANUP_SCHEDULE: '*/5 * * * *',
    DATA_DIR: '.data',
    LOG_LEVEL: 'info',
    mail: undefined,
    tls: undefined
  })
  for (const address of ['127.0.0.1', '::1', '10.1.2.3', '172.20.0.2', '192.168.0.1', 'fd00::1', '::ffff:10.0.0.1']) {
    t.ok(isTrustedProxy(address), address)
  }
  for (const address of ['203.0.113.9', '172.32.0.1', '2001:db8::1', '']) t.notOk(isTrustedProxy(address), address)
})

t.test('an empty variable counts as not set', async (t) => {
  t.match(await loadConfig({ DATABASE_URL, PORT: '', TLS_CERT_PATH: '', LOG_LEVEL: '' }), {
    PORT: 3000,
    LOG_LEVEL: 'info'
  })
  await t.rejects(loadConfig({ DATABASE_URL: '' }), { message: 'DATABASE_URL: must be set' })
})

t.test('TRUSTED_PROXIES takes addresses, ranges and names', async (t) => {
  const { isTrustedProxy } = await loadConfig({ DATABASE_URL, TRUSTED_PROXIES: '203.0.113.9, 2001:db8::/32,loopback' })
  for (const address of ['203.0.113.9', '2001:db8::5', '127.0.0.1']) t.ok(isTrustedProxy(address), address)
  t.notOk(isTrustedProxy('10.0.0.1'))
})

t.test("the database's password may be in a file", async (t) => {
  const dir = t.testdir({ password: 'a/b#c%d e\n' })
  const DATABASE_PASSWORD_FILE = join(dir, 'password')
  t.match(await loadConfig({ DATABASE_URL, DATABASE_PASSWORD_FILE }), {
    DATABASE_URL: 'postgres://relay:a%2Fb%23c%25d%20e@localhost/relay'
  })
  for (const [variables, message] of [
    [{ DATABASE_PASSWORD_FILE: join(dir, 'none') }, /none/],
    [{ DATABASE_PASSWORD_FILE, DATABASE_URL: 'postgres://relay:other@localhost/relay' }, /no password/],
    [{ DATABASE_PASSWORD_FILE, DATABASE_URL: 'postgres://localhost/relay' }, /name a user/]
  ] as [NodeJS.ProcessEnv, RegExp][]) {
    await t.rejects(loadConfig({ DATABASE_URL, ...variables }), { message: /^DATABASE_PASSWORD_FILE: .+$/ })
    await t.rejects(loadConfig({ DATABASE_URL, ...variables }), { message })
  }
})

t.test('the database may have several hosts and a pooler, with the same password', async (t) => {
  const DATABASE_PASSWORD_FILE = join(t.testdir({ password: 'secret' }), 'password')
  const config = await loadConfig({
    DATABASE_URL: 'postgres://relay@db1:5433,db2,[::1]:5434/relay?target_session_attrs=primary',
    DATABASE_POOLER_URL: 'postgres://relay@pgbouncer:6432/relay',
    DATABASE_PASSWORD_FILE
  })
  t.match(config, {
    DATABASE_URL: 'postgres://relay:secret@db1:5433,db2,[::1]:5434/relay?target_session_attrs=primary',
    DATABASE_POOLER_URL: 'postgres://relay:secret@pgbouncer:6432/relay'
  })
})

t.test('SMTP_URL enables mail, and needs the other settings', async (t) => {
  const variables = { SMTP_URL: 'smtp://relay@mail.example.com', MAIL_FROM: 'relay@example.com' }
  const PUBLIC_URL = 'https://relay.example.com/'
  const dir = t.testdir({ password: 'a/b#c\n', empty: '' })
  const mail = async (file?: string) =>
    (await loadConfig({ DATABASE_URL, ...variables, PUBLIC_URL, SMTP_PASSWORD_FILE: file })).mail
  const publicUrl = 'https://relay.example.com'
  t.same(await mail(), { url: variables.SMTP_URL, from: variables.MAIL_FROM, publicUrl })
  t.match(await mail(join(dir, 'password')), { url: 'smtp://relay:a%2Fb%23c@mail.example.com' })
  t.match(await mail(join(dir, 'empty')), { url: variables.SMTP_URL }, 'an empty file means no password')
  await t.rejects(mail(join(dir, 'none')), { message: /^SMTP_PASSWORD_FILE: .*none/ })
  await t.rejects(loadConfig({ DATABASE_URL, ...variables }), { message: /^PUBLIC_URL: must be set too/ })
  for (const [name, value] of [
    ['MAIL_FROM', ''],
    ['MAIL_FROM', 'relay'],
    ['PUBLIC_URL', 'http://relay.example.com'],
    ['PUBLIC_URL', 'https://'],
    ['PUBLIC_URL', 'https://relay.example.com/tracker'],
    ['PUBLIC_URL', 'https://relay.example.com:a'],
    ['SMTP_URL', 'http://mail.example.com'],
    ['SMTP_URL', 'smtp://mail.example.com:a']
  ] as const) {
    const message = new RegExp(`^${name}: .+$`)
    await t.rejects(
      loadConfig({ DATABASE_URL, ...variables, PUBLIC_URL, [name]: value }),
      { message },
      `${name}=${value}`
    )
  }
})

t.test('a wrong setting is reported in one line that names it', async (t) => {
  const [server, other] = [await createSelfSigned({ commonName: 'a' }), await createSelfSigned({ commonName: 'b' })]
  const dir = t.testdir({
    'server.crt': server.certificate,
    'server.key': server.privateKey,
    'other.key': other.privateKey,
    junk: 'junk'
  })
  const [TLS_CERT_PATH, junk] = [join(dir, 'server.crt'), join(dir, 'junk')]
  for (const [variables, message] of [
    [{ DATABASE_URL: undefined }, /DATABASE_URL/],
    [{ DATABASE_URL: 'mysql://localhost' }, /DATABASE_URL/],
    [{ DATABASE_URL: 'postgres://relay:a/b@localhost/relay' }, /^DATABASE_URL: /],
    [{ DATABASE_URL: 'postgres://relay:a%@localhost/relay' }, /^DATABASE_URL: /],
    [{ DATABASE_URL: 'postgres://relay@db1,,db2/relay' }, /^DATABASE_URL: /],
    [{ DATABASE_URL: 'postgres://relay@db1,db2:a/relay' }, /^DATABASE_URL: /],
    [
      { DATABASE_URL: `${DATABASE_URL}?target_session_attrs=master` },
      /^DATABASE_URL: target_session_attrs must be one of any, primary/
    ],
    [{ DATABASE_URL: `${DATABASE_URL}?sslmode=yes` }, /^DATABASE_URL: sslmode must be one of disable, prefer/],
    [{ DATABASE_URL: `${DATABASE_URL}?sslmode=verify-full` }, /^DATABASE_URL: sslmode=verify-full needs sslrootcert/],
    [{ DATABASE_URL: `${DATABASE_URL}?sslmode=require&sslrootcert=system` }, /^DATABASE_URL: sslrootcert=system needs/],
    [{ DATABASE_URL: `${DATABASE_URL}?sslmode=verify-ca&sslrootcert=${join(dir, 'none')}` }, /^DATABASE_URL: .*none/],
    [{ DATABASE_POOLER_URL: 'postgres://relay:a%@localhost/relay' }, /^DATABASE_POOLER_URL: /],
    [{ PORT: 'http' }, /^PORT: must be integer$/],
    [{ PORT: '65536' }, /^PORT: must be <= 65535$/],
    [{ BROADCAST_TTL_SECONDS: '0' }, /BROADCAST_TTL_SECONDS/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL/],
    [{ REGISTRATION_PROOF: 'yes' }, /REGISTRATION_PROOF/],
    [{ CLEANUP_SCHEDULE: 'hourly' }, /^CLEANUP_SCHEDULE: /],
    [{ CLIENT_CERT_FORMAT: 'apache' }, /CLIENT_CERT_FORMAT/],
    [
      { CLIENT_CERT_FORMAT: 'nginx', TLS_CERT_PATH, TLS_KEY_PATH: join(dir, 'server.key') },
      /^CLIENT_CERT_FORMAT: must not be set, because/
    ],
    [{ TRUSTED_PROXIES: 'nginx' }, /^TRUSTED_PROXIES: .*nginx/],
    [{ TLS_CERT_PATH }, /^TLS_KEY_PATH: must be set too/],
    [{ TLS_KEY_PATH: junk }, /^TLS_CERT_PATH: must be set too/],
    [{ TLS_CERT_PATH: junk, TLS_KEY_PATH: join(dir, 'other.key') }, /^TLS_CERT_PATH: /],
    [{ TLS_CERT_PATH, TLS_KEY_PATH: junk }, /^TLS_KEY_PATH: /],
    [{ TLS_CERT_PATH, TLS_KEY_PATH: join(dir, 'other.key') }, /^TLS_KEY_PATH: .*mismatch/],
    [{ TLS_CERT_PATH, TLS_KEY_PATH: join(dir, 'none.key') }, /^TLS_KEY_PATH: .*none\.key/]
  ] as [NodeJS.ProcessEnv, RegExp][]) {
    await t.rejects(loadConfig({ DATABASE_URL, ...variables }), { message: /^.+$/ })
    await t.rejects(loadConfig({ DATABASE_URL, ...variables }), { message }, JSON.stringify(variables))
  }
})

t.test('TLS files are read', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost' })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const paths = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
  const { tls } = await loadConfig({ DATABASE_URL, ...paths })
  t.same([tls?.cert.toString(), tls?.key.toString()], [certificate, privateKey])
})
