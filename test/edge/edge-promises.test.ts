import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { decodePem } from '../../src/identity/certificate.ts'
import { EDGE_FORMATS } from '../../src/identity/client-certificate.ts'
import { ANNOUNCEMENT } from '../support/api.ts'
import { readShape } from '../support/certificate-shapes.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { EDGES, startBehind } from '../support/edge.ts'
import { FORMAT_NAMES, headerOf, headerValue } from '../support/edge-headers.ts'
import { raw } from '../support/edge-raw.ts'
import { send, untilStatus } from '../support/http-client.ts'
import { createPeer, type Peer, registerPeer } from '../support/peers.ts'
import { watchAs } from '../support/watch.ts'

// What every edge has to guarantee. Each runs for real, in front of an API that knows its format.

for (const kind of Object.keys(EDGES) as (keyof typeof EDGES)[]) {
  t.test(kind, { skip: skipWithoutContainers }, async (t) => {
    const { format, api, container, sql, port, origin, relay } = await startBehind(t, kind)
    const alice = await registerPeer(relay, 'alice')
    const bob = await createPeer('bob', { keyType: 'rsa-2048' })
    const mallory = await createPeer('mallory')
    const trudy = await registerPeer(relay, 'trudy')
    const own = EDGE_FORMATS[format].header

    /** The last request that reached the API. */
    let arrived: IncomingMessage | undefined
    api.fastify.server.prependListener('request', (request) => {
      if (request.url !== '/') arrived = request // edges ask for that every second, to see whether the API answers
    })

    t.test('a peer can register, announce, look up, list, rotate and leave', async (t) => {
      t.match(await relay.register(bob), { status: 200 })
      t.match(await relay.ready(alice), { status: 200, body: { broadcast_id: String, expires_in: 3600 } })
      t.match(await relay.ready(bob), { status: 200 })
      t.match(await relay.lookup(bob, alice.email), {
        status: 200,
        body: { ...ANNOUNCEMENT, fingerprint: alice.fingerprint }
      })
      t.match(await relay.list(alice), { status: 200, body: [{ email: bob.email }] })
      const next = await createPeer('next')
      t.match(await relay.certificate(trudy, next), {
        status: 200,
        body: { pending: { fingerprint: next.fingerprint } }
      })
      t.match(await relay.certificate(next, trudy), { status: 200, body: { fingerprint: next.fingerprint } })
      t.match(await relay.keepCertificate(trudy), { status: 204 }, 'back again')
      t.match(await relay.list(next), { status: 401, body: { code: 'certificate_unknown' } })
      t.match(await relay.own(bob), { status: 200, body: { email: bob.email, observed_address: String } })
      t.match(await relay.withdraw(bob), { status: 204 })
      t.match(await relay.unregister(bob), { status: 204 })
      t.match(await relay.register(bob), { status: 200 })
      t.match(await relay.list(undefined), { status: 401, body: { code: 'certificate_required' } })
      t.match(await relay.list(mallory), { status: 401, body: { code: 'certificate_unknown' } })
    })

    t.test('a forged certificate header gets nobody another identity', async (t) => {
      const escaped = encodeURIComponent(alice.certificate)
      const value = headerValue(format, alice)
      const spellings = [
        ...[own, own.toUpperCase(), own.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase())],
        ...[own.replaceAll('-', '_'), own.replace('-', '_'), own.replace(/-(?!.*-)/, '_')],
        ...[`${own}-`, `-${own}`, `http-${own}`, `${own}_`, own.replace('x-', '')]
      ]
      const forgeries: [string, string | string[]][] = [
        ...spellings.map((name) => [name, value] as [string, string]),
        ...FORMAT_NAMES.flatMap((other) => Object.entries(headerOf(other, alice)) as [string, string][]),
        ...FORMAT_NAMES.map((other) => [own, headerValue(other, alice)] as [string, string]),
        ...['X-SSL-Client-Cert', 'SSL-Client-Cert', 'X-Client-Cert', 'X-ARR-ClientCert', 'X-Client-Certificate'].map(
          (name) => [name, escaped] as [string, string]
        ),
        ['Client-Cert-Chain', headerValue('rfc9440', alice)],
        ['X-Forwarded-Client-Cert', `Hash=${alice.fingerprint};Cert="${escaped}"`],
        [own, [value, value]],
        [own, `${value}, ${value}`],
        [own, ''],
        ['Connection', `close, ${own}`],
        ['Connection', `${own}, keep-alive`]
      ]
      const callers: [string, Peer | undefined][] = [
        ['no certificate', undefined],
        ['an unregistered certificate', mallory],
        ['a registered certificate', trudy]
      ]
      const body = { port: 666, addresses: ['10.6.6.6'] }
      for (const [who, as] of callers) {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 })
        t.teardown(() => agent.destroy())
        for (const [name, forged] of forgeries) {
          const what = `${who}, ${name}: ${String(forged).slice(0, 30)}`
          const headers = { [name]: forged }
          const listed = await relay.call('/broadcast/list', { as, agent, headers })
          const announced = await relay.call('/broadcast/ready', { as, agent, headers, body })
          const expected = as === trudy ? 200 : 401
          t.same([listed.status, announced.status], [expected, expected], what)
          const certificates = FORMAT_NAMES.flatMap((each) => {
            const { header } = EDGE_FORMATS[each]
            return arrived?.headersDistinct[header]?.map((text) => [header, decodeURIComponent(text)]) ?? []
          })
          t.same(certificates, as ? [[own, decodeURIComponent(headerValue(format, as))]] : [], `arrived: ${what}`)
        }
      }
      t.match(await relay.lookup(trudy, alice.email), { status: 200, body: ANNOUNCEMENT }, 'alice is where she was')
      t.match(await relay.lookup(alice, trudy.email), { status: 200, body }, 'trudy has moved herself')
    })

    t.test('a header forged in raw HTTP, bare, folded or with HTTP/1.0, gets nobody another identity', async (t) => {
      const value = headerValue(format, alice)
      const list = '/api/relay/broadcast/list'
      for (const lines of [
        [`GET ${list} HTTP/1.0`, `${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `${own} : ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `X-A: b\r\n ${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `X-A: b\r\n\t${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `X-A: b\n${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `X-A: b\r${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `${own}:\r\n ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', 'Connection: close', `\0${own}: ${value}`],
        [`GET ${list} HTTP/1.1`, 'Host: a', `Connection: close, ${own}`, `${own}: ${value}`],
        [`GET https://a${list} HTTP/1.1`, 'Host: b', 'Connection: close', `${own}: ${value}`]
      ]) {
        const reply = await raw(port, `${lines.join('\r\n')}\r\n\r\n`)
        t.match(
          reply,
          /^HTTP\/1\.[01] 40[01] /,
          JSON.stringify(lines.slice(0, -1).concat(String(lines.at(-1)).slice(0, 30)))
        )
      }
    })

    t.test('a request smuggled within another gets nobody another identity', async (t) => {
      const body = JSON.stringify({ port: 666, addresses: ['10.6.6.6'] })
      const smuggled = [
        ...['POST /api/relay/broadcast/ready HTTP/1.1', 'Host: a', `${own}: ${headerValue(format, alice)}`],
        ...['Content-Type: application/json', `Content-Length: ${body.length}`, '', body]
      ].join('\r\n')
      const chunked = `0\r\n\r\n${smuggled}`
      const whole = `Content-Length: ${chunked.length}`
      const carriers: [string[], string][] = [
        [[whole, 'Transfer-Encoding: chunked'], chunked],
        [['Transfer-Encoding: chunked', whole], chunked],
        [['Transfer-Encoding: chunked', 'Content-Length: 5'], chunked],
        ...[
          'xchunked',
          'chunked, identity',
          'identity, chunked',
          '\tchunked',
          'chunked\r\n , chunked',
          '"chunked"'
        ].map((encoding) => [[whole, `Transfer-Encoding: ${encoding}`], chunked] as [string[], string]),
        [[whole, 'Transfer-Encoding : chunked'], chunked],
        [[whole, 'Transfer_Encoding: chunked'], chunked],
        [[whole, 'X-A: b\nTransfer-Encoding: chunked'], chunked],
        [['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], chunked],
        [['Content-Length: 0', whole], smuggled],
        [[whole, 'Content-Length: 0'], smuggled],
        ...['+0', '-1', '0x0', '0, 0', '0 '].map((n) => [[`Content-Length: ${n}`], smuggled] as [string[], string]),
        [['Transfer-Encoding: chunked'], `0;a=\n${smuggled}\r\n\r\n`],
        [['Transfer-Encoding: chunked'], `-1\r\n${smuggled}`],
        [['Transfer-Encoding: chunked'], `ffffffffffffffff1\r\n${smuggled}`],
        [['Connection: Transfer-Encoding', 'Transfer-Encoding: chunked'], chunked]
      ]
      const before = await relay.lookup(trudy, alice.email)
      const replies = await Promise.all(
        carriers.map(([headers, rest]) =>
          raw(port, ['POST /api/relay/broadcast/ready HTTP/1.1', 'Host: a', ...headers, '', rest].join('\r\n'), 2000)
        )
      )
      // Caddy blames the API for a body that it cannot read.
      const done = kind === 'Caddy' ? /^HTTP\/1\.\d (2|3|50[^13])/m : /^HTTP\/1\.\d (2|3|50[^1])/m
      for (const [n, reply] of replies.entries()) {
        t.notMatch(reply, done, JSON.stringify(carriers[n]?.[0]))
      }
      t.same((await relay.lookup(trudy, alice.email)).body, before.body, 'alice is where she was')
    })

    t.test("only the edge decides a peer's observed address and a request's id", async (t) => {
      const claimed = '203.0.113.9'
      const headers = {
        ...{ 'x-forwarded-for': claimed, forwarded: `for=${claimed}`, 'x-real-ip': claimed, 'x-client-ip': claimed },
        ...{ X_Forwarded_For: claimed, 'x-forwarded-host': 'evil.example', 'x-request-id': 'forged' }
      }
      await relay.call('/broadcast/ready', { as: alice, headers, body: { port: 1, addresses: ['0.0.0.0'] } })
      const [address] = (await relay.lookup(alice, alice.email)).body.addresses
      t.match(address, /^(172|10|192\.168)\./, 'where the container sees this machine')
      await relay.call('/broadcast/list', { headers })
      t.same(arrived?.headersDistinct['x-forwarded-for']?.length, 1)
      t.notMatch(arrived?.headers, { 'x-forwarded-host': 'evil.example' })
      // nginx has no id for the request yet.
      if (kind !== 'nginx') t.match(arrived?.headersDistinct['x-request-id'], [/^[0-9a-f-]{36}$/])
    })

    t.test('a watcher gets events at once, and its stream outlasts the timeout of other calls', async (t) => {
      const stream = await watchAs(t, origin, alice)
      t.match(await stream.next(), { name: 'list' })
      await relay.ready(bob)
      t.match(await stream.next(), { name: 'online', data: { email: bob.email } })
      await pause(3000)
      await relay.withdraw(bob)
      t.match(await stream.next(), { name: 'offline', data: { email: bob.email } })
    })

    t.test('the edge passes on only /api/relay/', async (t) => {
      for (const path of [
        ...['/', '/livez', '/readyz', '/metrics', '/api', '/api/relay', '/api/relayx', '/api/relay/../../livez'],
        ...['/api/relay/%2e%2e/%2e%2e/livez', '//livez', '/errors/not_found', '/api/relay/heartbeat']
      ]) {
        t.match(await send(origin + path), { status: 404, body: { error: String, code: 'not_found' } }, path)
      }
    })

    t.test("the edge's own errors are the service's JSON", async (t) => {
      t.match(await relay.call('/register', { body: 'x'.repeat(17 * 1024) }), {
        status: 413,
        body: { error: String, code: 'payload_too_large' }
      })
      const chunks = ['POST /api/relay/register HTTP/1.1', 'Host: a', 'Content-Type: application/json']
      const chunked = [...chunks, 'Transfer-Encoding: chunked', '', '5000', 'x'.repeat(0x5000), '0', '', ''].join(
        '\r\n'
      )
      // Caddy may close the connection before it has the API's answer.
      const tooLarge = kind === 'Caddy' ? /^HTTP\/1\.1 (413|503) / : /^HTTP\/1\.1 413 [\s\S]*"code":"payload_too_large"/
      t.match(await raw(port, chunked, 2000), tooLarge, 'without a length')
      t.match(await send(`${origin}/api/relay/`, { method: 'TRACE' }), {
        status: 405,
        body: { error: String, code: 'method_not_allowed' }
      })
      const unread = await raw(port, 'hello\r\n\r\n')
      // Go answers this itself, whatever Caddy's configuration says.
      t.match(unread, kind === 'Caddy' ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/)
    })

    t.test("the API's errors pass untouched", async (t) => {
      t.match(await relay.call('/register'), {
        status: 405,
        headers: { allow: 'POST, DELETE' },
        body: { code: 'method_not_allowed' }
      })
      t.match(await relay.register(alice), { status: 409, body: { code: 'already_registered' } })
      t.match(await relay.call('/register', { body: '{' }), { status: 400, body: { code: 'bad_request' } })
      const hostless = 'GET /api/relay/broadcast/list HTTP/1.0\r\n\r\n'
      t.match(await raw(port, hostless), /^HTTP\/1\.[01] 401 [\s\S]*"code":"certificate_required"/, 'also to HTTP/1.0')
    })

    t.test('the holder of an expired certificate is told so, and can leave', async (t) => {
      const old = readShape('openssl/expired')
      t.match(await relay.list(old), { status: 401, body: { error: String, code: 'certificate_unknown' } })
      await sql`insert into clients (email, certificate, not_before, not_after)
        values (${old.email}, ${decodePem(old.certificate) as Buffer}, '2020-01-01', '2021-01-01')`
      t.match(await relay.list(old), { status: 401, body: { error: String, code: 'certificate_expired' } })
      t.match(await relay.ready(old), { status: 401, body: { code: 'certificate_expired' } })
      t.match(await relay.unregister(old), { status: 204 })
      t.match(await relay.list(old), { status: 401, body: { code: 'certificate_unknown' } })
      await sql`update clients set not_after = now() - interval '1 s', not_before = now() - interval '1 day'
        where email = ${trudy.email}`
      t.match(await relay.list(trudy), { status: 401, body: { code: 'certificate_expired' } }, 'on the same connection')
    })

    t.test('a certificate that is not for clients serves its peer like any other', async (t) => {
      const server = readShape('openssl/server-auth-critical')
      const next = readShape('go/generate-cert')
      t.match(await relay.register(server, { as: server }), { status: 200 }, 'with proof')
      t.match(await relay.register(server, { as: server }), { status: 409, body: { code: 'already_registered' } })
      const capabilities = { text: 'x'.repeat(4000) }
      t.match(await relay.ready(server, { ...ANNOUNCEMENT, capabilities }), { status: 200 }, 'with a body')
      t.match(await relay.lookup(alice, server.email), { status: 200, body: { capabilities } })
      t.match(await relay.lookup(server, alice.email), { status: 200 }, 'with a query')
      t.match(await relay.lookup(server, 'nobody+at+all@example.com'), { status: 404 })
      t.match(await relay.call('/broadcast/list', { as: server, method: 'PUT' }), { status: 405 })
      t.match(await relay.call('/../livez', { as: server }), { status: 404, body: { code: 'not_found' } })
      t.match(await relay.call('/register', { as: server, body: 'x'.repeat(17 * 1024) }), {
        status: 413,
        body: { code: 'payload_too_large' }
      })
      const stream = await watchAs(t, origin, server)
      t.match(await stream.next(), { name: 'list' })
      await relay.withdraw(alice)
      t.match(await stream.next(), { name: 'offline', data: { email: alice.email } })
      await relay.ready(alice)

      t.match(await relay.certificate(server, next), {
        status: 200,
        body: { pending: { fingerprint: next.fingerprint } }
      })
      t.match(await relay.certificate(next), { status: 200, body: { fingerprint: next.fingerprint, pending: null } })
      t.match(await relay.list(server), { status: 401, body: { code: 'certificate_unknown' } })
      t.match(await relay.unregister(next), { status: 204 })
    })

    t.test('a certificate that is too large to be registered is refused', async (t) => {
      const [large, huge] = [readShape('openssl/large'), readShape('openssl/huge')]
      const register = (peer: Peer) => relay.call('/register', { as: peer, body: { email: peer.email } })
      t.match(await register(large), { body: { code: 'certificate_too_large' } })
      // Caddy cannot truncate it.
      const code = kind === 'Caddy' ? 'request_header_fields_too_large' : 'certificate_too_large'
      t.match(await register(huge), { body: { code } })
      t.match(await relay.list(huge), { body: { code } })
    })

    t.test('the edge speaks TLS 1.2 and 1.3 only, and names no authorities', async (t) => {
      const version = async (options: object) => {
        const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
        await once(socket, 'secureConnect')
        const protocol = socket.getProtocol()
        socket.destroy()
        return protocol
      }
      t.equal(await version({}), 'TLSv1.3')
      t.equal(await version({ maxVersion: 'TLSv1.2' }), 'TLSv1.2')
      await t.rejects(version({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE+AES:!AESGCM:!AESCCM' }), 'no CBC')
      await t.rejects(version({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
      // Clients in Go or Java present no certificate when the edge names authorities that did not issue it.
      const { output } = await container.exec(['sh', '-c', 'openssl s_client -connect 127.0.0.1:443 </dev/null 2>&1'])
      t.match(output, 'No client certificate CA names sent')
      t.match(output, 'Requested Signature Algorithms')
    })

    t.test('the access log has lookups without the address looked up', async (t) => {
      await relay.lookup(alice, 'somebody@example.com')
      let log = ''
      for await (const line of await container.logs()) {
        log += line
        if (log.includes('broadcast/lookup')) break
      }
      t.notMatch(log, 'example.com')
    })

    t.test('while the API is down peers get 503, and service returns by itself', async (t) => {
      const { hostname } = new URL(api.origin)
      await new Promise((resolve) => {
        api.fastify.server.close(resolve)
        api.fastify.server.closeAllConnections()
      })
      t.match(await relay.list(alice), {
        status: 503,
        headers: { 'retry-after': '2' },
        body: { code: 'service_unavailable' }
      })
      await new Promise<void>((resolve) => api.fastify.server.listen(api.port, hostname, resolve))
      await untilStatus(200, () => relay.list(alice))
    })
  })
}
