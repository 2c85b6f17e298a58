import type { SMTPServerAuthenticationResponse, SMTPServerSession } from 'smtp-server'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { linkIn, startMailer, startMailServer } from '../support/mail.ts'
import { createPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'

type Options = Parameters<typeof startMailServer>[1]

/** A mail server that fails as `options` say, and a registration whose e-mail is due. */
async function startFailing(t: Test, options: Options) {
  const { url: database, sql } = await createDatabase(t)
  const server = await startMailServer(t, options)
  const { relay } = await startApi(t, { database, env: server.env })
  const alice = await createPeer('alice')
  await relay.register(alice)
  const state = async () => (await sql`select mail_tries, mail_due_at > now() as later from pending_registrations`)[0]
  const isTried = (wished: object) =>
    eventually(state, (row) => JSON.stringify(row) === JSON.stringify(wished)).then(() => t.pass())
  return {
    database,
    sql,
    server,
    relay,
    alice,
    isTried,
    again: () => sql`update pending_registrations set mail_due_at = now()`
  }
}

const failing = (responseCode: number) => (_: unknown, __: unknown, done: (error: Error) => void) =>
  done(Object.assign(new Error('not now'), { responseCode }))

t.test('the e-mail says the same as text and as HTML, and asks for no reply', async (t) => {
  const { database, server, alice } = await startFailing(t, {})
  await startMailer(t, database, server.env)
  const mail = await server.next()
  const link = linkIn(mail)
  t.match(mail, {
    from: { address: 'relay@example.com' },
    to: [{ address: alice.email }],
    subject: 'Confirm your e-mail address for relay.example.com'
  })
  t.match(mail.headers, [{ key: 'auto-submitted', value: 'auto-generated' }])
  for (const part of [mail.text, mail.html]) {
    for (const content of [alice.email, alice.fingerprint, link, '24 hours', 'do nothing']) t.match(part, content)
  }
  t.match(mail.html, `href="https://relay.example.com${link}"`)
})

t.test('an address cannot add anything to the e-mail', async (t) => {
  const { url: database } = await createDatabase(t)
  const server = await startMailServer(t)
  await startMailer(t, database, server.env)
  const { relay } = await startApi(t, { database, env: server.env })
  const peer = await createPeer()
  const email = "o'brien&sons{x}@example.com"
  t.match(await relay.register({ ...peer, email }), { status: 200 })
  for (const bad of ['a@example.com\r\nBcc: b@example.com', 'a@example.com,b@example.com', '<a@example.com>']) {
    t.match(await relay.register({ ...peer, email: bad }), { status: 400, body: { code: 'invalid_email' } })
  }
  const mail = await server.next()
  t.match(mail, { to: [{ address: email }], cc: undefined, bcc: undefined })
  t.match(mail.html, 'o&#39;brien&amp;sons{x}@example.com')
  t.same(server.mails, [])
})

t.test('an e-mail that the server refuses for now is retried', async (t) => {
  let isBusy = true
  const { database, server, isTried, again } = await startFailing(t, {
    onRcptTo: (address, session, done) => (isBusy ? failing(451)(address, session, done as never) : done())
  })
  const { logged } = await startMailer(t, database, server.env)
  t.match(await logged(1), [{ msg: 'mail not sent', responseCode: 451, isFinal: false }])
  await isTried({ mail_tries: 1, later: true })
  await again()
  await logged(2)
  await isTried({ mail_tries: 2, later: true })
  isBusy = false
  await again()
  t.ok(linkIn(await server.next()))
  await isTried({ mail_tries: 3, later: null })
})

t.test('an e-mail that the server refuses for good is not retried', async (t) => {
  const { database, server, isTried, relay, alice } = await startFailing(t, { onRcptTo: failing(550) as never })
  const { logged } = await startMailer(t, database, server.env)
  t.match(await logged(1), [{ msg: 'mail not sent', responseCode: 550, isFinal: true }])
  await isTried({ mail_tries: 1, later: null })
  t.match(await relay.register(alice), { status: 200 })
  await isTried({ mail_tries: 1, later: null })
})

t.test('a refused sender is retried, because it is a setting', async (t) => {
  const { database, server, isTried } = await startFailing(t, { onMailFrom: failing(550) as never })
  const { logged } = await startMailer(t, database, server.env)
  t.match(await logged(1), [{ msg: 'mail not sent', command: 'MAIL FROM', responseCode: 550, isFinal: false }])
  await isTried({ mail_tries: 1, later: true })
})

t.test('an unavailable mail server delays e-mails', async (t) => {
  const { database, server, isTried, again } = await startFailing(t, {})
  await server.close()
  const { logged } = await startMailer(t, database, server.env)
  t.match(await logged(1), [{ msg: 'mail not sent', code: 'ESOCKET' }])
  await isTried({ mail_tries: 1, later: true })
  const back = await startMailServer(t, { port: server.port })
  await again()
  t.match(await back.next(), { subject: String })
})

t.test('a failed login is a wrong setting, not a wrong address', async (t) => {
  const onAuth = (
    auth: unknown,
    _: SMTPServerSession,
    done: (error: Error | null, answer?: SMTPServerAuthenticationResponse) => void
  ) => {
    const { username, password } = auth as { username: string; password: string }
    if (username === 'relay' && password === 'a/b#c%d e') done(null, { user: username })
    else done(Object.assign(new Error('no'), { responseCode: 535 }))
  }
  const { database, server, isTried, again } = await startFailing(t, {
    authOptional: false,
    allowInsecureAuth: true,
    onAuth
  })
  const url = (password: string) => server.env.SMTP_URL.replace('//', `//relay${password}@`)
  const wrong = await startMailer(t, database, { ...server.env, SMTP_URL: url(':wrong') })
  t.match(await wrong.logged(1), [{ msg: 'mail not sent', code: 'EAUTH', isFinal: false }])
  await isTried({ mail_tries: 1, later: true })
  await wrong.fastify.close()
  const folder = t.testdir({ password: 'a/b#c%d e\n' })
  await startMailer(t, database, { ...server.env, SMTP_URL: url(''), SMTP_PASSWORD_FILE: `${folder}/password` })
  await again()
  t.match(await server.next(), { subject: String })
})

t.test('e-mails are sent without TLS only to this machine', async (t) => {
  const { database, server, isTried } = await startFailing(t, {})
  const { logged } = await startMailer(t, database, { ...server.env, SMTP_URL: `smtp://127.1:${server.port}` })
  t.match(await logged(1), [{ msg: 'mail not sent', code: 'ETLS' }])
  await isTried({ mail_tries: 1, later: true })
})

t.test('e-mails are sent with TLS only to a trusted server', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['localhost'] })
  const options = { disabledCommands: [], key: privateKey, cert: certificate }
  const { database, server, isTried } = await startFailing(t, options)
  const { logged } = await startMailer(t, database, { ...server.env, SMTP_URL: `smtp://localhost:${server.port}` })
  t.match(await logged(1), [{ msg: 'mail not sent', code: 'ESOCKET' }])
  await isTried({ mail_tries: 1, later: true })
  t.same(server.mails, [])
})

t.test('two mailers send each e-mail once, and finish those in flight before they end', async (t) => {
  const { url: database } = await createDatabase(t)
  const server = await startMailServer(t, {
    onMailFrom: (_, __, done) => setTimeout(done, 300)
  })
  const { relay } = await startApi(t, { database, env: server.env })
  const peer = await createPeer()
  for (let n = 0; n < 10; n++) {
    await relay.register({ ...peer, email: `${n}@example.com` }, { headers: { 'x-forwarded-for': `192.0.2.${n}` } })
  }
  const mailers = [await startMailer(t, database, server.env), await startMailer(t, database, server.env)]
  await server.next()
  for (const { fastify } of mailers) await fastify.close()
  await startMailer(t, database, server.env)
  await eventually(
    async () => server.mails.length,
    (length) => length >= 9
  )
  t.equal(server.mails.length, 9)
})

t.test('the mailer process serves, sends and stops', async (t) => {
  const { database, server } = await startFailing(t, {})
  const mailer = start(t, 'src/processes/mailer.ts', {
    env: { DATABASE_URL: database, MAILER_PORT: '0', ...server.env }
  })
  await server.next()
  await mailer.printed('mail sent')
  mailer.child.kill('SIGTERM')
  t.match(await mailer.ended, { code: 0 })
  const idle = start(t, 'src/processes/mailer.ts', { env: { DATABASE_URL: database, MAILER_PORT: '0' } })
  await idle.printed('Server listening')
  idle.child.kill('SIGTERM')
  t.match(await idle.ended, { code: 0 }, 'without SMTP_URL it does nothing')
})

t.test('an unavailable database is logged, and e-mails are sent when it is back', async (t) => {
  const { database, sql, server, isTried } = await startFailing(t, {})
  await sql`alter table pending_registrations rename to away`
  const { log } = await startMailer(t, database, server.env)
  await eventually(
    async () => log,
    (lines) => lines.some(({ msg }) => msg === 'mails not sent, retrying every second; registrations stay pending')
  )
  await sql`alter table away rename to pending_registrations`
  t.match(await server.next(), { subject: String })
  await isTried({ mail_tries: 1, later: null })
})
