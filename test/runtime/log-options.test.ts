import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import pino from 'pino'
import t, { type Test } from 'tap'
import { audit } from '../../src/observability/audit.ts'
import { client } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { linkIn, startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { follow, start } from '../support/process.ts'
import { watchAs } from '../support/watch.ts'

type Line = Record<string, unknown>

/** An API process, and the lines of its log. */
async function startLogging(t: Test, env: NodeJS.ProcessEnv = {}) {
  const { url, sql } = await createDatabase(t)
  const api = start(t, 'src/processes/api.ts', { env: { DATABASE_URL: url, PORT: '0', INTERNAL_PORT: '0', ...env } })
  t.teardown(() => {
    api.child.kill('SIGTERM')
    return api.ended
  })
  await api.printed('Server listening')
  const [, internal] = api.output().match(/Operators are served at (http:[^"]+)/) as [string, string]
  const [, origin] = api.output().match(/Server listening at (http:[^"]+)/) as [string, string]
  const lines = (): Line[] =>
    api
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line))
  /** The lines about a request, once it has ended. */
  const about = async (id: unknown) => {
    const ofIt = async () => lines().filter(({ requestId }) => requestId === id)
    return eventually(ofIt, (found) => found.some(({ status }) => status !== undefined))
  }
  return { api, url, sql, origin, internal, lines, about, relay: client(`${origin}/api/relay`) }
}

t.test('a request is one line with its id, caller, route and outcome', async (t) => {
  const { api, origin, internal, lines, about, relay, sql } = await startLogging(t)
  const alice = await registerPeer(relay)
  const [{ id: clientId }] = await sql<[{ id: string }]>`select id from clients`
  const { fingerprint } = alice
  const only = async (headers: IncomingHttpHeaders) => {
    const found = await about(headers['x-request-id'])
    t.equal(found.length, 1, 'one line')
    return found[0]
  }

  const known = {
    method: 'GET',
    route: '/api/relay/broadcast/list',
    status: 200,
    ip: '127.0.0.1',
    clientId,
    fingerprint
  }
  t.match(await only((await relay.list(alice)).headers), {
    level: 30,
    msg: 'request completed',
    durationMs: Number,
    ...known
  })
  const ready = { method: 'POST', route: '/api/relay/broadcast/ready' }
  t.match(
    await only((await relay.ready(alice)).headers),
    { ...known, ...ready },
    'also where one statement does it all'
  )
  const lookup = { route: '/api/relay/broadcast/lookup' }
  t.match(await only((await relay.lookup(alice, alice.email)).headers), { ...known, ...lookup })
  t.match(await only((await relay.lookup(alice, 'nobody@example.com')).headers), {
    ...{ ...known, ...lookup },
    ...{ status: 404, code: 'peer_not_found' }
  })
  const mallory = await createPeer('mallory')
  const stranger = await only((await relay.ready(mallory)).headers)
  t.match(stranger, { status: 401, code: 'certificate_unknown', fingerprint: mallory.fingerprint })
  t.notOk(stranger && 'clientId' in stranger)

  const astray = await only((await send(`${origin}/nowhere/${'x'.repeat(300)}?email=${alice.email}`)).headers)
  t.match(astray, { status: 404, code: 'not_found', path: /^\/nowhere\/x{191}$/ })
  t.match(await only((await relay.call('/%zz')).headers), { status: 400, code: 'bad_request', path: '/api/relay/%zz' })
  t.match(
    await only((await send(`${internal}/nowhere`)).headers),
    { status: 404 },
    'operators’ requests are logged too'
  )

  const socket = connect(Number(new URL(origin).port), '127.0.0.1').setEncoding('utf8')
  socket.write('hello\r\n\r\n')
  const [, id] = (await socket.toArray()).join('').match(/^x-request-id: (.*)\r$/m) as [string, string]
  t.match(await about(id), [{ status: 400, code: 'bad_request' }], 'something that is no request')

  await sql`alter table broadcasts rename to away`
  const failed = await only((await relay.ready(alice)).headers)
  t.match(failed, { level: 50, status: 500, code: 'internal_error', err: { code: '42P01', message: /broadcasts/ } })
  await sql`alter table away rename to broadcasts`

  const stream = await watchAs(t, origin, alice)
  stream.response.destroy()
  t.match(await only(stream.response.headers), {
    ...known,
    route: '/api/relay/broadcast/events',
    msg: 'request broken off'
  })

  const answered = lines().length
  t.match(await send(`${internal}/livez`), { status: 200 })
  t.match(await send(`${internal}/metrics`), { status: 200 })
  await only((await relay.list(alice)).headers)
  t.equal(lines().length, answered + 1, 'requests that come every few seconds are not logged')
  for (const secret of [alice.email, 'BEGIN', 'email=']) t.notMatch(api.output(), secret)
})

t.test("a trusted edge's id is used if it is valid", async (t) => {
  const { relay, about } = await startLogging(t)
  const idFor = async (value: string | string[]) => {
    const { headers } = await relay.call('/broadcast/list', { headers: { 'x-request-id': value } })
    return headers['x-request-id'] as string
  }
  for (const id of ['7f3c9a0e5d2b4c6f8a1b3c5d7e9f0a2b', 'x', 'a.b:c_d-e', 'x'.repeat(64)]) {
    t.equal(await idFor(id), id)
    t.match(await about(id), [{ status: 401 }])
  }
  const made = /^[0-9a-f]{8}-[0-9a-f-]{27}$/
  for (const id of ['', ' ', 'x'.repeat(65), 'a b', 'a"b', 'a\tb', '<b>', 'ü', ['a', 'b'], 'a,b']) {
    t.match(await idFor(id), made, JSON.stringify(id))
  }
  const untrusting = await startLogging(t, { TRUSTED_PROXIES: '203.0.113.9' })
  const { headers } = await untrusting.relay.call('/broadcast/list', { headers: { 'x-request-id': 'forged' } })
  t.match(headers['x-request-id'], made, 'not from a stranger')
})

t.test('the audit trail says who is registered', async (t) => {
  const { relay, lines, sql } = await startLogging(t)
  const seen = new Set<Line>()
  let trail: Line[] = []
  /** The events since the last call, without what every line has. */
  const events = async (count: number) => {
    trail = await eventually(
      async () => lines().filter(({ audit }) => audit),
      ({ length }) => length >= seen.size + count
    )
    const fresh = trail.slice(seen.size)
    for (const line of fresh) seen.add(line)
    for (const line of fresh) t.match(line, { level: 30, audit: true, requestId: String, msg: `audit: ${line.event}` })
    return fresh.map(({ level, time, pid, hostname, requestId, audit, msg, ...event }) => event)
  }
  const idOf = async (email: string) =>
    (await sql<[{ id: string }]>`select id from clients where email = ${email}`)[0].id

  const alice = await createPeer('alice')
  await relay.register({ ...alice, email: 'squatter@example.com' })
  const squatter = await idOf('squatter@example.com')
  const { fingerprint } = alice
  t.same(await events(1), [{ event: 'register', clientId: squatter, fingerprint, isProven: false }])
  await relay.register(alice, { as: alice })
  const clientId = await idOf(alice.email)
  t.same(await events(2), [
    { event: 'displaced', clientId: squatter, by: clientId },
    { event: 'register', clientId, fingerprint, isProven: true }
  ])

  const next = await createPeer('next')
  await relay.keepCertificate(alice)
  await relay.certificate(alice, next)
  await relay.keepCertificate(alice)
  await relay.certificate(alice, next)
  await relay.list(next)
  const rotate = { event: 'rotate', clientId }
  t.same(
    await events(4),
    [
      { ...rotate, step: 'announced', fingerprint, next: next.fingerprint },
      { ...rotate, step: 'withdrawn', fingerprint },
      { ...rotate, step: 'announced', fingerprint, next: next.fingerprint },
      { ...rotate, step: 'taken_over', fingerprint: next.fingerprint, previous: fingerprint }
    ],
    'none for what there was not to withdraw'
  )

  await sql`update clients set not_before = now() - interval '2 s', not_after = now() - interval '1 s'`
  const heir = await createPeer('heir')
  await relay.register({ ...heir, email: alice.email })
  const heirId = await idOf(alice.email)
  t.same(await events(2), [
    { event: 'displaced', clientId, by: heirId },
    { event: 'register', clientId: heirId, fingerprint: heir.fingerprint, isProven: false }
  ])
  await relay.unregister(heir)
  t.same(await events(1), [{ event: 'unregister', clientId: heirId, fingerprint: heir.fingerprint }])
  t.notMatch(JSON.stringify(lines()), 'example.com', 'no e-mail address')
})

t.test('the audit trail is written at every LOG_LEVEL except silent', async (t) => {
  const written = (level: string) => {
    const lines: string[] = []
    const log = pino({ level }, { write: (line: string) => lines.push(line) })
    log.info('of no interest')
    audit(log, { event: 'verify', clientId: 'c', fingerprint: 'f' })
    return lines.map((line) => JSON.parse(line).msg)
  }
  t.same(written('error'), ['audit: verify'])
  t.same(written('silent'), [])
})

t.test('the audit trail says whose address was confirmed', async (t) => {
  const server = await startMailServer(t)
  const { relay, lines, url, api } = await startLogging(t, server.env)
  const mailer = start(t, 'src/processes/mailer.ts', { env: { ...server.env, DATABASE_URL: url, MAILER_PORT: '0' } })
  const confirm = async () => {
    const token = linkIn(await server.next()).split('?')[1]
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return relay.call('/email/verify', { body: token, headers })
  }
  const alice = await createPeer('alice')
  const { body: first } = await relay.register(alice)
  t.match(await confirm(), { status: 200 })
  const again = { ...(await createPeer('again')), email: alice.email }
  const { body: second } = await relay.register(again)
  t.match(await confirm(), { status: 200 })
  const trail = await eventually(
    async () => lines().filter(({ audit }) => audit),
    ({ length }) => length >= 5
  )
  t.match(trail, [
    { event: 'register', clientId: first.client_id, fingerprint: alice.fingerprint, pending: true },
    { event: 'verify', clientId: first.client_id, fingerprint: alice.fingerprint },
    { event: 'register', clientId: second.client_id, fingerprint: again.fingerprint, pending: true },
    { event: 'displaced', clientId: first.client_id, by: second.client_id },
    { event: 'verify', clientId: second.client_id, fingerprint: again.fingerprint }
  ])
  for (const output of [api.output(), mailer.output()]) t.notMatch(output, 'example.org')
})

t.test('a terminal gets lines for people', async (t) => {
  const env = { ...process.env, DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay', PORT: '0', INTERNAL_PORT: '0' }
  const command = `${process.execPath} ${join(import.meta.dirname, '../../src/processes/api.ts')}`
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], { env, cwd: t.testdir({}) })
  const api = follow(child)
  t.teardown(() => child.kill('SIGKILL'))
  await api.printed('Server listening')
  t.match(api.output(), /^\S*\[\d\d:\d\d:\d\d\.\d{3}\]\S* \S*INFO\S*: \S*relay-tracker \d+\.\d+\.\d+/m)
  t.notMatch(api.output(), '{"level"')
  child.stdin.write('\x03') // Ctrl-C
  await api.ended
})

t.test('a log that nobody reads does not fill the memory', async (t) => {
  const script = `
    import { logOptions } from '${join(import.meta.dirname, '../../src/runtime/log-options.ts')}'
    const { stream } = logOptions({ LOG_LEVEL: 'info', isTrustedProxy: () => true }).logger
    for (let n = 0; n < 100_000; n++) stream.write('x'.repeat(999) + '\\n')
    console.error('kept ' + stream._len)
    process.exit()`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const [text] = await once(child.stderr, 'data')
  child.stdout.resume()
  await once(child, 'close')
  const kept = Number(/kept (\d+)/.exec(String(text))?.[1])
  t.ok(kept > 0 && kept < 5 * 2 ** 20, `${kept} of 100 MB`)
})
