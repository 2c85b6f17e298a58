import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { ALICE } from '../../src/http/openapi-examples.ts'
import { startApi } from '../support/api.ts'
import { readShape } from '../support/certificate-shapes.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { hostOfContainers, startEdge, startNginx } from '../support/edge.ts'
import { headerOf } from '../support/edge-headers.ts'
import { eventually } from '../support/eventually.ts'
import { fixture, toPem } from '../support/fixtures.ts'
import { type Reply, send, unchanged } from '../support/http-client.ts'
import { linkIn, startMailer, startMailServer } from '../support/mail.ts'
import { startFaultyNetwork } from '../support/network.ts'
import type { Operation } from '../support/openapi.ts'
import { createPeer, type Peer } from '../support/peers.ts'
import { rehearse } from '../support/rehearsal.ts'

const DAY = 86_400_000

/** No test is to wait for a place at the edge. */
const NO_LIMITS = {
  EDGE_REGISTER_RATE: '1000r/s',
  EDGE_REGISTER_BURST: '1000',
  EDGE_REQUEST_RATE: '1000r/s',
  EDGE_REQUEST_BURST: '1000'
}
/** The third request is refused. */
const HARDLY_ANY = { EDGE_REQUEST_RATE: '1r/m', EDGE_REQUEST_BURST: '1' }

t.test('every example is sent or provoked, and answered as documented', { skip: skipWithoutContainers }, async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const network = await startFaultyNetwork(t, database)
  const { host, name } = await hostOfContainers()
  const api = await startApi(t, { database: network.url, host })
  const edge = await startNginx(t, `${name}:${api.port}`, NO_LIMITS)
  const busyEdge = await startNginx(t, `${name}:${api.port}`, HARDLY_ANY)
  const mails = await startMailServer(t)
  await startMailer(t, database, mails.env)
  const { env } = await serverCertificate(t, '127.0.0.1')
  const verifying = await startApi(t, {
    database: network.url,
    env: { ...mails.env, REGISTRATION_PROOF: 'required', ...env }
  })
  const behindHaproxy = await startApi(t, { database: network.url, env: { CLIENT_CERT_FORMAT: 'der-base64' } })
  const EDGE = `${edge.origin}/api/relay`
  const VERIFYING = `${verifying.origin}/api/relay`

  const { operations, call, callAs, check, untried, alice, next, bob, dave, setToken } = await rehearse(EDGE)
  const nextToken = async () => setToken(new URL(linkIn(await mails.next()), EDGE).searchParams.get('token') as string)
  const eve = await createPeer('eve')

  t.test('verified e-mail', async (t) => {
    const to = VERIFYING
    const register = (as: Peer, email = as.email) => call('register', { to, as, body: { email } })
    check(t, 'register 403 proof_required', await call('register', { to, body: 'sent' }))
    check(t, 'register 200 pending', await call('register', { to, body: 'presented', as: alice }))
    await nextToken()
    check(t, 'askForConfirmation 200 page', await call('askForConfirmation', { to, query: { token: 'mail' } }))
    check(t, 'confirm 200 page', await call('confirm', { to, body: 'mail' }))
    check(t, 'askForConfirmation 404 page', await call('askForConfirmation', { to, query: { token: 'mail' } }))
    check(t, 'confirm 404 page', await call('confirm', { to, body: 'mail' }))

    t.match(await call('askForConfirmation', { to }), { status: 400, body: /Token is missing/ })
    const long = 'x'.repeat(101)
    check(t, 'askForConfirmation 400 page', await call('askForConfirmation', { to, query: { token: long } }))
    check(t, 'confirm 400 page', await call('confirm', { to, body: `token=${long}` }))
    check(t, 'confirm 413 page', await call('confirm', { to, body: `token=${'x'.repeat(1024)}` }))
    const json = { 'content-type': 'application/json' }
    check(t, 'confirm 415 page', await call('confirm', { to, body: '{}', headers: json }))

    // Two addresses for one certificate: the first to be confirmed gets it.
    const carol = await createPeer('carol')
    for (const email of [carol.email, 'other@example.com']) t.match(await register(carol, email), { status: 200 })
    await nextToken()
    t.match(await call('confirm', { to, body: 'mail' }), { status: 200 })
    await nextToken()
    check(t, 'confirm 409 page', await call('confirm', { to, body: 'mail' }))
    let answer = await register(eve)
    for (let mail = 2; mail <= 11 && answer.status === 200; mail++) answer = await register(eve)
    check(t, 'register 429 too_many_mails', answer)
    t.match(await call('unregister', { as: carol }), { status: 204 })
  })

  t.test('registration', async (t) => {
    const register = (body: unknown) => call('register', { body })
    check(t, 'unregister 204', await call('unregister', { as: alice }))
    check(t, 'register 200 registered', await register('sent'))
    check(t, 'register 409 already_registered', await call('register', { body: 'presented', as: alice }))
    check(t, 'register 409 email_taken', await register({ email: alice.email, certificate: bob.certificate }))
    check(t, 'register 409 certificate_taken', await register({ email: bob.email, certificate: alice.certificate }))
    for (const peer of [bob, dave])
      t.match(await call('register', { as: peer, body: { email: peer.email } }), { status: 200 })

    check(t, 'register 400 invalid_email', await register({ email: 'alice', certificate: alice.certificate }))
    check(t, 'register 400 invalid_request', await register({ email: 'a@example.com', name: 'Alice' }))
    const rotate = (body: unknown) => call('rotateCertificate', { as: alice, body })
    check(
      t,
      'rotateCertificate 400 invalid_request',
      await rotate({ certificate: next.certificate, email: next.email })
    )
    for (const [code, certificate] of Object.entries(await unacceptableCertificates())) {
      check(t, `register 400 ${code}`, await register({ email: 'a@example.com', certificate }))
      check(t, `rotateCertificate 400 ${code}`, await rotate({ certificate }))
    }
    const elsewhere = { to: `${behindHaproxy.origin}/api/relay`, headers: headerOf('der-base64', alice) }
    const certificate = readShape('openssl/unknown-critical').certificate
    check(
      t,
      'rotateCertificate 403 proof_required',
      await call('rotateCertificate', { ...elsewhere, body: { certificate } })
    )
    check(t, 'rotateCertificate 409 certificate_taken', await rotate({ certificate: bob.certificate }))
    check(t, 'rotateCertificate 400 invalid_signature', await rotate({ certificate: next.certificate, signature: 'x' }))
    check(t, 'getCertificate 200 alone', await call('getCertificate', { as: alice }))
    check(t, 'rotateCertificate 200 pending', await rotate('next'))
    check(t, 'keepCertificate 204', await call('keepCertificate', { as: alice }))
  })

  t.test('broadcast', async (t) => {
    // The list is ordered by id.
    await sql`update clients set id = ${ALICE.id} where email = ${alice.email}`
    await sql`update clients set id = 'ffffffff-ffff-4fff-bfff-ffffffffffff' where email = ${dave.email}`
    check(t, 'getOwn 404 not_online', await call('getOwn', { as: alice }))
    check(t, 'lookup 404 peer_not_found', await call('lookup', { as: bob, query: { email: 'alice' } }))
    const watcher = await read(t, `${EDGE}/broadcast/events`, bob)
    await watcher.until('event: list')
    check(t, 'announce 200 online', await call('announce', { as: alice, body: 'all' }))
    await watcher.until('event: online')
    check(t, 'withdraw 204', await call('withdraw', { as: alice }))
    check(t, 'events 200 alice', await watcher.until('event: offline'))

    check(t, 'announce 200 online', await call('announce', { as: alice, body: 'all' }))
    check(t, 'announce 200 online', await call('announce', { as: dave, body: 'least' }))
    check(t, 'getOwn 200 alice', await call('getOwn', { as: alice }))
    check(t, 'lookup 200 alice', await call('lookup', { as: bob, query: { email: 'alice' } }))
    check(t, 'lookup 200 alice', await call('lookup', { as: bob, query: { fingerprint: 'alice' } }))
    const rotate = (as: Peer, body: unknown) => call('rotateCertificate', { as, body })
    check(t, 'rotateCertificate 200 pending', await rotate(alice, 'signed'))
    t.match(await call('getOwn', { as: next }), { status: 200 })
    check(t, 'lookup 200 rotated', await call('lookup', { as: bob, query: { email: 'alice' } }))
    t.match(await rotate(next, { certificate: alice.certificate }), { status: 200 })
    check(t, 'getOwn 200 alice', await call('getOwn', { as: alice }))
    const page = (tag: string) => call('list', { as: bob, query: { limit: 'one' }, headers: { 'if-none-match': tag } })
    check(t, 'list 200 alice', await page('earlier'))
    check(t, 'list 304', await unchanged(() => page('earlier'), page))
    const rest = await call('list', { as: bob, query: { limit: 'one', cursor: 'of the page before' } })
    t.match(rest, { status: 200, body: [{ email: dave.email }] })

    const announce = (change: object) =>
      call('announce', { as: alice, body: { port: 1, addresses: ['192.0.2.1'], ...change } })
    check(t, 'announce 400 invalid_port', await announce({ port: '1' }))
    check(t, 'announce 400 invalid_addresses', await announce({ addresses: ['example.com'] }))
    check(t, 'announce 400 invalid_capabilities', await announce({ capabilities: { a: 'x'.repeat(4096) } }))
    check(t, 'announce 400 invalid_ttl', await announce({ ttl: 59 }))
    check(t, 'announce 400 invalid_request', await announce({ name: 'Alice' }))
    check(t, 'lookup 400 invalid_email', await call('lookup', { as: bob }))
    check(t, 'lookup 400 invalid_fingerprint', await call('lookup', { as: bob, query: { fingerprint: 'x' } }))
    check(t, 'lookup 400 invalid_request', await call('lookup', { as: bob, query: { name: 'Alice' } }))
    check(t, 'list 400 invalid_limit', await call('list', { as: bob, query: { limit: '0' } }))
    check(t, 'list 400 invalid_cursor', await call('list', { as: bob, query: { cursor: '!' } }))
    check(t, 'list 400 invalid_request', await call('list', { as: bob, query: { page: '2' } }))
  })

  t.test('requests that HTTP itself refuses', async (t) => {
    const list = `${EDGE}/broadcast/list`
    const large = 'x'.repeat(17 * 1024)
    const refusals: [number, string, Promise<Reply>][] = [
      [404, 'not_found', send(`${EDGE}/heartbeat`)],
      [405, 'method_not_allowed', send(list, { method: 'PUT' })],
      [408, 'request_timeout', sendTooSlowly(t, api)],
      [
        413,
        'payload_too_large',
        send(list, { method: 'GET', body: large, headers: { 'content-length': large.length } })
      ],
      [414, 'uri_too_long', send(`${list}?cursor=${large}`)],
      [431, 'request_header_fields_too_large', send(list, { headers: { a: large } })],
      [501, 'not_implemented', sendRaw(edge.port, 'GET /api/relay/broadcast/list', 'Transfer-Encoding: a')],
      [400, 'bad_request', sendRaw(edge.port, 'GET /api/relay/broadcast/list', 'Content-Length: a')],
      [400, 'https_required', send(list.replace('https:', 'http:'))]
    ]
    for (const [status, code, reply] of refusals) {
      check(t, `any default ${code}`, await reply)
      t.equal((await reply).status, status, code)
    }
    t.equal((await send(list, { method: 'PUT' })).headers.allow, 'GET, HEAD')
  })

  t.test('errors of every call', async (t) => {
    const stranger = await createPeer('stranger')
    const early = await createPeer('early')
    const huge = readShape('openssl/huge')
    const short = await createPeer('short', { notBefore: new Date(Date.now() - DAY), days: 1 + 15_000 / DAY })
    const revoked = await createPeer('revoked')
    for (const peer of [early, short, revoked]) {
      t.match(await call('register', { as: peer, body: { email: peer.email } }), { status: 200 })
    }
    await sql`update clients set not_before = now() + interval '1 day' where email = ${early.email}`
    await sql`update clients set revoked_at = now() where email = ${revoked.email}`
    check(
      t,
      'register 403 certificate_revoked',
      await call('register', { as: revoked, body: { email: revoked.email } })
    )
    // Its certificate expires within this connection.
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1, cert: short.certificate, key: short.privateKey })
    t.teardown(() => agent.destroy())
    await eventually(
      () => call('getCertificate', { agent }),
      ({ status }) => status === 401
    )

    for (const operation of operations) {
      const { id, method, path, body } = operation
      const isJson = body?.type === 'application/json'
      const provocations: Record<string, () => Promise<Reply>> = {
        '400 https_required': () => callAs(id, undefined, { to: EDGE.replace('https:', 'http:') }),
        '400 bad_request': () =>
          isJson
            ? callAs(id, alice, { body: '{' })
            : sendRaw(edge.port, `${method} /api/relay${path}`, 'Content-Length: a'),
        '401 certificate_required': () => callAs(id, undefined),
        '401 certificate_unknown': () => callAs(id, stranger),
        '401 certificate_revoked': () => callAs(id, revoked),
        '401 certificate_expired': () => callAs(id, undefined, { agent }),
        '401 certificate_not_yet_valid': () => callAs(id, early),
        '401 certificate_too_large': () => callAs(id, huge),
        '401 invalid_certificate': () =>
          callAs(id, undefined, {
            to: `${behindHaproxy.origin}/api/relay`,
            headers: { 'x-ssl-client-der': 'no certificate' }
          }),
        '403 email_unverified': () => callAs(id, eve),
        '413 payload_too_large': () => callAs(id, alice, { body: 'x'.repeat(17 * 1024) }),
        '415 unsupported_media_type': () => callAs(id, alice, { body: 'x', headers: { 'content-type': 'text/plain' } }),
        '429 too_many_requests': () =>
          eventually(
            () => callAs(id, undefined, { to: `${busyEdge.origin}/api/relay` }),
            ({ status }) => status === 429
          )
      }
      for (const [answer, provoke] of Object.entries(provocations)) {
        const key = `${id} ${answer}`
        if (untried().includes(key)) check(t, key, await provoke())
      }
    }
  })

  t.test('faults', async (t) => {
    const provoke = (answer: string, to: string) =>
      Promise.all(
        operations
          .map(({ id }) => ({ id, key: `${id} ${answer}` }))
          .filter(({ key }) => untried().includes(key))
          .map(async ({ id, key }) => check(t, key, await callAs(id, alice, { to })))
      )
    await sql`alter schema public rename to gone`
    await provoke('500 internal_error', EDGE)
    await provoke('500 page', VERIFYING)
    await sql`alter schema gone rename to public`
    await network.set('refuse')
    const isPage = ({ responses }: Operation) => responses[200]?.content['text/html']
    t.ok(operations.some(isPage))
    await provoke('503 page', VERIFYING)
    await Promise.all(
      operations
        .filter((operation) => !isPage(operation))
        .map(async ({ id }) => check(t, `${id} 503 service_unavailable`, await callAs(id, alice)))
    )
    await api.fastify.close()
    await provoke('503 service_unavailable', EDGE)
  })

  t.test('no example is left', async (t) => {
    t.same(untried(), [])
  })
})

t.test('every command works', { skip: skipWithoutContainers }, async (t) => {
  const { nginx, origin, api } = await startEdge(t, NO_LIMITS)
  const { url: database } = await createDatabase(t)
  const { host, name } = await hostOfContainers()
  const mails = await startMailServer(t)
  await startMailer(t, database, mails.env)
  const server = await serverCertificate(t, name)
  const verifying = await startApi(t, { database, host, env: { ...mails.env, ...server.env } })
  const { operations, alice, next, bob, call } = await rehearse(`${origin}/api/relay`)
  const { body: pending } = await verifying.relay.register(alice)
  t.match(pending, { email_verification: 'pending' })
  const token = new URL(linkIn(await mails.next()), origin).searchParams.get('token')

  const body = ({ email, certificate }: Peer) => JSON.stringify({ email, certificate })
  await nginx.copyContentToContainer(
    Object.entries({
      'certs/alice.json': body(alice),
      'certs/bob.crt': bob.certificate,
      'certs/bob.key': bob.privateKey,
      'certs/bob-next.json': body(next),
      'verifying.crt': server.certificate
    }).map(([file, content]) => ({ content, target: `/tmp/${file}` }))
  )
  const run = async (id: string, settings: string, seconds = 60) => {
    const { description } = operations.find((operation) => operation.id === id) as Operation
    const [, command] = /```sh\n(.*)\n```/s.exec(description) as RegExpExecArray
    const curl = `curl() { command curl --silent --show-error --max-time ${seconds} --write-out '\\n%{http_code}' "$@"; }`
    const { output } = await nginx.exec(['bash', '-c', `cd /tmp; ${settings}; ${curl}\n${command}`])
    return output
  }
  const here = 'relay=https://localhost/api/relay; ca=/etc/nginx/tls/ca.crt'
  const there = `relay=https://${name}:${verifying.port}/api/relay; ca=verifying.crt; token=${token}`

  t.match(await call('register', { as: bob, body: { email: bob.email } }), { status: 200 })
  const story = {
    ...{ register: 200, announce: 200, getOwn: 200, list: 200, withdraw: 204 },
    ...{ rotateCertificate: 200, getCertificate: 200, keepCertificate: 204 }
  }
  for (const [id, status] of Object.entries(story)) {
    t.match(await run(id, here), new RegExp(`\\n${status}$`), id)
  }
  t.match(await run('events', here, 5), /event: list\n.*\n200/s, 'events have no end')
  t.match(await call('announce', { as: alice, body: 'all' }), { status: 200 })
  t.match(await run('lookup', here), /\n200$/)
  t.match(await run('unregister', here), /204$/)
  t.match(await run('askForConfirmation', there), /\n200$/)
  t.match(await run('confirm', there), /\n200$/)
  t.same(
    new Set(operations.map(({ id }) => id)),
    new Set([...Object.keys(story), 'events', 'lookup', 'unregister', 'askForConfirmation', 'confirm'])
  )
  await api.fastify.close()
})

async function serverCertificate(t: Test, host: string) {
  const { certificate, privateKey } = await createSelfSigned({ commonName: host, hosts: [host] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  return { certificate, env: { TLS_CERT_PATH: `${dir}/server.crt`, TLS_KEY_PATH: `${dir}/server.key` } }
}

/** Certificates that are refused, by code. */
async function unacceptableCertificates() {
  const peer = await createPeer()
  const der = Buffer.from(peer.certificate.replaceAll(/-----.*-----|\n/g, ''), 'base64')
  const early = await createPeer('early', { notBefore: new Date(Date.now() + DAY) })
  const expired = await createPeer('expired', { notBefore: new Date(Date.now() - 2 * DAY), days: 1 })
  return {
    invalid_certificate: 'certificate',
    private_key_sent: peer.privateKey,
    certificate_request_sent: fixture('request.csr'),
    multiple_certificates: peer.certificate + peer.certificate,
    certificate_too_large: readShape('openssl/large').certificate,
    trailing_data: toPem(Buffer.concat([der, Buffer.of(0)])),
    malformed_certificate: toPem(withOddBoolean(der)),
    weak_key: fixture('rsa-1024.crt'),
    unsupported_key: fixture('dsa-2048.crt'),
    weak_signature: fixture('rsa-2048-sha1.crt'),
    unsupported_signature: readShape('openssl/sha3').certificate,
    certificate_expired: expired.certificate,
    certificate_not_yet_valid: early.certificate
  }
}

/** DER writes TRUE as 0xff. */
function withOddBoolean(der: Buffer) {
  const odd = Buffer.from(der)
  odd[odd.indexOf(Buffer.of(1, 1, 0xff)) + 2] = 1
  return odd
}

/** Reads an answer that has no end. */
async function read(t: Test, url: string, as: Peer) {
  const request = https.get(url, { agent: false, rejectUnauthorized: false, cert: as.certificate, key: as.privateKey })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  t.teardown(() => response.destroy())
  let body = ''
  response.setEncoding('utf8').on('data', (text) => {
    body += text
  })
  return {
    /** What has arrived, once it includes this text and ends with a whole event. */
    until: (text: string) =>
      eventually(
        async () => ({ status: response.statusCode as number, headers: response.headers, isResumed: false, body }),
        ({ body }) => body.endsWith('\n\n') && body.includes(text)
      )
  }
}

/** Sends a request that no client would make. */
async function sendRaw(port: number, start: string, header: string) {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.write(`${start} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${header}\r\n\r\n`)
  return readReply(socket)
}

/** Does at once what Node.js does with such a request at its next check. */
async function sendTooSlowly(t: Test, { fastify }: Awaited<ReturnType<typeof startApi>>) {
  const { address: host, port } = fastify.server.address() as { address: string; port: number }
  const socket = connectTcp(port, host)
  t.teardown(() => socket.destroy())
  const [serverSide] = (await once(fastify.server, 'connection')) as [Socket]
  socket.write('GET / HTTP/1.1\r\n')
  fastify.server.emit('clientError', Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), serverSide)
  return readReply(socket)
}

async function readReply(socket: Socket): Promise<Reply> {
  const [head, body] = (await socket.setEncoding('utf8').toArray()).join('').split('\r\n\r\n') as [string, string]
  const [start, ...lines] = head.split('\r\n') as [string, ...string[]]
  const headers = Object.fromEntries(
    lines.map((line) => line.split(': ')).map(([name, value]) => [name?.toLowerCase(), value])
  )
  return { status: Number(start.split(' ')[1]), headers, isResumed: false, body: JSON.parse(body) }
}
