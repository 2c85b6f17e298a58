import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { connect as connectTls } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { readShape } from '../support/certificate-shapes.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { hostOfContainers, startEdge, startNginx } from '../support/edge.ts'
import { raw } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'
import { type Reply, send, untilStatus } from '../support/http-client.ts'
import { addPeers } from '../support/many-peers.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { watchAs } from '../support/watch.ts'

t.test("nginx keeps its configuration's promises", { skip: skipWithoutContainers }, async (t) => {
  const { nginx, port, origin, relay } = await startEdge(t)
  const alice = await registerPeer(relay, 'alice')

  t.test('no location sets a header of its own, which would drop all the others', async (t) => {
    const template = readFileSync('nginx/templates/default.conf.template', 'utf8')
    t.notMatch(template, 'proxy_set_header')
    const passed = template.match(/proxy_pass/g)?.length
    t.equal(
      template.match(/include \/etc\/nginx\/relay\/proxy\.conf;/g)?.length,
      passed,
      'each proxy_pass has the include'
    )
  })

  t.test("nginx's own errors are the service's JSON", async (t) => {
    const old = await createPeer('old', { notBefore: new Date('2020-01-01'), days: 10 })
    const future = await createPeer('future', { notBefore: new Date(Date.now() + 86_400_000) })
    const replies: [Promise<unknown>, number, string][] = [
      [relay.list(old), 401, 'certificate_unknown'],
      [relay.list(future), 401, 'certificate_unknown'],
      [send(`${origin}/`, { method: 'TRACE' }), 405, 'method_not_allowed'],
      [relay.call('/register', { body: 'x'.repeat(17 * 1024) }), 413, 'payload_too_large'],
      [relay.call(`/broadcast/lookup?email=${'x'.repeat(9000)}`), 414, 'uri_too_long'],
      [relay.call('/broadcast/list', { headers: { x: 'x'.repeat(9000) } }), 431, 'request_header_fields_too_large'],
      [send(`http://127.0.0.1:${port}/`), 400, 'https_required']
    ]
    for (const [reply, status, code] of replies) t.match(await reply, { status, body: { error: String, code } }, code)
    t.match(await raw(port, 'hello\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/)
    const unread: [string, string[]][] = [
      ['a version that nobody speaks', ['GET /api/relay/broadcast/list HTTP/2.0', 'Host: a']],
      ['chunks that are none', ['GET / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked', '', '-1']]
    ]
    for (const [what, lines] of unread) {
      t.match(await raw(port, `${lines.join('\r\n')}\r\n\r\n`), /^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/, what)
    }
    const chunked = 'POST /api/relay/register HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n'
    t.match(await raw(port, chunked), /^HTTP\/1\.1 501 [\s\S]*"code":"not_implemented"/)
  })

  t.test('nginx resumes no session, which would outlive its certificate', async (t) => {
    const { certificate: cert, privateKey: key } = await registerPeer(relay, 'again')
    const agent = new https.Agent({ cert, key })
    for (let n = 0; n < 3; n++) {
      t.match(await send(`${origin}/api/relay/broadcast/list`, { agent }), { status: 200, isResumed: false })
    }
  })

  t.test("every answer has its request's id in the logs, which nginx alone assigns", async (t) => {
    const mine = { 'x-request-id': 'mine' }
    const replies = [
      await relay.call('/broadcast/list', { as: alice, headers: mine }),
      await relay.call('/broadcast/list', { headers: mine }),
      await relay.call('/register', { body: 'x'.repeat(20_000), headers: mine }),
      await relay.call('/%zz', { headers: mine }),
      await send(`${origin}/`, { headers: mine })
    ]
    const { response } = await watchAs(t, origin, alice)
    t.same(
      replies.map(({ status }) => status),
      [200, 401, 413, 400, 404]
    )
    const ids = [...replies, response].map(({ headers }) => headers['x-request-id'])
    for (const id of ids) t.match(id, /^[0-9a-f]{32}$/, 'one, and not what the caller calls it')
    t.equal(new Set(ids).size, ids.length)
    const broken = await raw(port, 'hello\r\n\r\n')
    t.equal(broken.match(/^x-request-id: [0-9a-f]{32}\r$/gim)?.length, 1)

    let log = ''
    for await (const line of await nginx.logs()) {
      log += line
      // The worker processes write their lines in no order.
      if (ids.slice(0, 5).every((id) => log.includes(id as string))) break
    }
    for (const id of ids.slice(0, 5)) t.match(log, new RegExp(`HTTP/1.1" \\d+ \\d+ [\\d.]+ ${id}`))
  })
})

t.test('nginx passes lists on without letting them starve other calls', { skip: skipWithoutContainers }, async (t) => {
  const { api, sql, origin, relay } = await startEdge(t, { EDGE_LISTS: '4' })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const open = async (path = '', headers = {}, edge = origin) => {
    const req = https.get(`${edge}/api/relay/broadcast/list${path}`, {
      agent: false,
      rejectUnauthorized: false,
      cert: alice.certificate,
      key: alice.privateKey,
      headers
    })
    const [response] = (await once(req, 'response')) as [IncomingMessage]
    return response
  }
  const bytesOf = async (response: IncomingMessage) => Buffer.concat(await response.toArray())
  await relay.ready(bob)

  await t.test('nginx compresses a list where it pays and the caller asks for it', async (t) => {
    const small = await open('', { 'accept-encoding': 'gzip' })
    t.notMatch(small.headers, { 'content-encoding': String })
    small.resume()
    await addPeers(sql, 2000)
    const plain = await open()
    t.notMatch(plain.headers, { 'content-encoding': String })
    const text = await bytesOf(plain)
    t.equal(JSON.parse(String(text)).length, 2001)
    const whole = await open('', { 'accept-encoding': 'gzip, br' })
    t.match(whole.headers, { 'content-encoding': 'gzip', vary: 'Accept-Encoding', etag: /^W\/"/ })
    const compressed = await bytesOf(whole)
    t.ok(compressed.length < text.length / 2, `${compressed.length} bytes of ${text.length}`)
    t.ok(gunzipSync(compressed).equals(text))
    const page = await open('?limit=1000', { 'accept-encoding': 'gzip' })
    t.match(page.headers, { 'content-encoding': 'gzip', link: /^<\/api\/relay\/broadcast\/list\?limit=1000&cursor=/ })
    t.equal(JSON.parse(String(gunzipSync(await bytesOf(page)))).length, 1000)
    const unchanged = await open('', { 'if-none-match': '*' })
    t.equal(unchanged.statusCode, 304)
    unchanged.resume()
  })

  // More than fits the buffers on the way.
  await addPeers(sql, 6000, { from: 2001, padding: 3900 })

  t.test('slow readers of lists delay only other lists', async (t) => {
    const slow = await Promise.all(Array.from({ length: 4 }, () => open()))
    t.same(
      slow.map(({ statusCode }) => statusCode),
      [200, 200, 200, 200]
    )
    t.match(await relay.list(bob), { status: 503, headers: { 'retry-after': '2' } })
    t.match(await relay.call('/broadcast/list?limit=5', { as: bob }), { status: 200 }, 'pages go on')
    t.match(await relay.ready(alice), { status: 200 })
    t.match(await relay.lookup(alice, bob.email), { status: 200 })
    for (const response of slow) response.on('error', () => {}).destroy()
    // On a busy machine a page may take too long, and the list then breaks off.
    const whole = await untilStatus(200, () => relay.list(alice).catch(() => undefined))
    t.equal(whole.body.length, 8001)
  })

  t.test('one address gets no more than its share of lists', async (t) => {
    const { name } = await hostOfContainers()
    const shared = await startNginx(t, `${name}:${api.port}`, { EDGE_LISTS_PER_ADDRESS: '2' })
    const slow = await Promise.all([open('', {}, shared.origin), open('', {}, shared.origin)])
    t.match(await shared.relay.list(bob), { status: 429, body: { code: 'too_many_requests' } })
    t.match(await shared.relay.lookup(alice, bob.email), { status: 200 }, 'all else goes on')
    t.match(await shared.relay.call('/broadcast/list?limit=1', { as: bob }), { status: 200 }, 'as do pages')
    const list = 'curl --silent --insecure https://127.0.0.1/api/relay/broadcast/list'
    const { output } = await shared.nginx.exec(['sh', '-c', list])
    t.match(output, 'certificate_required', 'as do lists for other addresses')
    for (const response of slow) response.on('error', () => {}).destroy()
    await untilStatus(304, () => shared.relay.call('/broadcast/list', { as: bob, headers: { 'if-none-match': '*' } }))
  })

  t.test('a list that breaks off does not look complete', async (t) => {
    for (const headers of [{}, { 'accept-encoding': 'gzip' }]) {
      const response = await open('', headers)
      await sql`alter table broadcasts rename port to away`
      await t.rejects(response.toArray(), { code: 'ECONNRESET' })
      await sql`alter table broadcasts rename away to port`
    }
  })
})

t.test('nginx makes and renews its own server certificate', { skip: skipWithoutContainers }, async (t) => {
  const { nginx } = await startEdge(t)
  const run = async (script: string) => (await nginx.exec(['sh', '-c', script])).output
  const make = (name = '') =>
    run(`SERVER_NAME=${name} /docker-entrypoint.d/40-server-certificate.sh /tmp/tls 2>&1; echo $?`)
  const made = () => run('cat /tmp/tls/server.crt')

  await run('mkdir /tmp/tls')
  t.match(await make(), /made a certificate for localhost\n0\n/)
  t.match(await run('stat -c %a /tmp/tls/server.key'), '600')
  const first = await made()
  t.equal(await make('localhost'), '0\n', 'is made once')
  t.equal(await made(), first)
  t.match(await make('relay.example.com'), /for relay\.example\.com\n0\n/, 'and anew for another name')
  const second = new X509Certificate(await made())
  t.equal(second.checkHost('relay.example.com'), 'relay.example.com')
  t.equal(second.checkIP('127.0.0.1'), '127.0.0.1')
  t.equal(second.ca, false, 'rustls takes no authority for a server')
  t.same(second.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'for servers')
  const lifetime = second.validToDate.getTime() - second.validFromDate.getTime()
  t.equal(lifetime, 397 * 86_400_000, 'as long as Apple takes it')
  t.ok(second.validFromDate.getTime() < Date.now() - 80_000_000, 'also for clocks that are behind')
  const authority = new X509Certificate(await run('cat /tmp/tls/ca.crt'))
  for (const certificate of [first, second]) {
    t.ok(new X509Certificate(certificate.toString()).verify(authority.publicKey), 'by one authority')
  }

  await run(
    'cd /tmp/tls && cp server.crt kept.crt && openssl x509 -in kept.crt -days 100 -signkey server.key -out server.crt 2>/dev/null && sha256sum server.crt >> .made-here'
  )
  t.match(await make('relay.example.com'), /for relay\.example\.com\n0\n/, 'and when a third of its time is left')
  await run('rm /tmp/tls/server.key')
  t.match(await make('relay.example.com'), /for relay\.example\.com\n0\n/, 'who ended half way makes it whole')

  for (const address of ['203.0.113.9', '2001:db8::9']) {
    t.match(await make(address), /made a certificate/)
    t.equal(
      new X509Certificate(await made()).checkIP(address),
      address,
      'clients look for an address among the addresses'
    )
  }
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example.com`
  t.match(await make(long), /made a certificate/)
  t.equal(new X509Certificate(await made()).checkHost(long), long, 'a name may be longer than a common name')

  await run('cp -r /tmp/tls /tmp/kept && rm /tmp/tls/ca.key')
  t.match(await make('other.example.com'), /stays in use\n0\n/, 'what cannot be replaced is better than nothing')
  await run('rm /tmp/tls/ca.crt')
  t.match(await make('other.example.com'), /made a certificate/, 'an authority that was thrown away is made anew')
  t.match(await run('cd /tmp/tls && openssl verify -CAfile ca.crt server.crt'), /: OK/, 'and is one')

  // A mv that kills the script after a given file.
  await run(
    `mkdir /tmp/bin && printf '#!/bin/sh\\n/bin/mv "$@"; [ "$2" != "$LAST" ] || kill -9 $PPID\\n' > /tmp/bin/mv && chmod +x /tmp/bin/mv`
  )
  const script = '/docker-entrypoint.d/40-server-certificate.sh'
  const selfSigned =
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt && sha256sum server.crt > .made-here'
  for (const [what, earlier] of Object.entries({
    'the first start': 'true',
    'another name': `SERVER_NAME=x.example ${script} .`,
    'what an earlier version made': selfSigned
  })) {
    for (const last of ['ca.key', 'ca.crt', 'server.crt']) {
      const folder = 'rm -rf /tmp/half && mkdir /tmp/half && cd /tmp/half'
      const killed = `LAST=${last} PATH=/tmp/bin:$PATH ${script} .`
      const now = `${script} . && openssl verify -CAfile ca.crt server.crt && openssl x509 -in server.crt -noout -pubkey > public && openssl pkey -in server.key -pubout | cmp - public`
      t.match(
        await run(
          `${folder}; { ${earlier}; ${killed}; } > /dev/null 2>&1; ${now} && ! cmp -s ca.crt server.crt; echo $?`
        ),
        /server\.crt: OK\n0\n$/,
        `${what}, killed after ${last}`
      )
    }
  }

  const lost = `rm -rf /tmp/lost && mkdir /tmp/lost && cd /tmp/lost && ${script} . > /dev/null`
  const lone = await run(
    `${lost}; cp ca.crt old.crt; cp ca.key old.key; rm ca.crt; ${script} .; cmp ca.key old.key && openssl verify -CAfile ca.crt server.crt`
  )
  t.match(lone, /made a certificate for localhost\nserver\.crt: OK\n$/, "an authority's key is never replaced")

  const before = [
    'mkdir /tmp/old && cd /tmp/old && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=old.example.com',
    '-addext subjectAltName=DNS:old.example.com -keyout server.key -out server.crt 2>/dev/null && sha256sum server.crt > .made-here',
    '&& cp server.crt pinned.crt && SERVER_NAME=old.example.com /docker-entrypoint.d/40-server-certificate.sh /tmp/old',
    '&& openssl verify -CAfile pinned.crt -purpose sslserver -verify_hostname old.example.com server.crt'
  ]
  t.match(
    await run(before.join(' ')),
    /made a certificate for old\.example\.com\nserver\.crt: OK\n/,
    'what an earlier version made vouches for the new one, so that nobody who trusts it is left out'
  )

  const { certificate, privateKey } = await createPeer()
  for (const [file, text] of Object.entries({ 'server.crt': certificate, 'server.key': privateKey })) {
    await run(`cat > /tmp/tls/${file} <<'END'\n${text}END`)
  }
  t.equal(await make('elsewhere.example.com'), '0\n', "the operator's is left alone")
  t.equal(await made(), certificate)
  await run('rm /tmp/tls/server.crt')
  t.match(await make(), /found only one of server\.crt and server\.key.*\n1\n/, 'a key alone is not overwritten')
  t.equal(await run('cat /tmp/tls/server.key'), privateKey)
})

t.test('nginx limits what one address can do', { skip: skipWithoutContainers }, async (t) => {
  const tooMany = {
    status: 429,
    headers: { 'retry-after': '2', 'x-request-id': /^[0-9a-f]{32}$/ },
    body: { error: String, code: 'too_many_requests' }
  }
  const isTooMany = ({ status }: Reply) => status === 429

  t.test('an address gets 60 registrations at once, then one every two seconds, and other calls go on', async (t) => {
    const { relay } = await startEdge(t)
    const replies: Reply[] = []
    for (let n = 0; n < 80; n++) replies.push(await relay.call('/register', { body: {} }))
    t.match(replies.slice(0, 61), Array(61).fill({ status: 400 }))
    t.ok(replies.slice(61).some(isTooMany))
    t.match(replies.find(isTooMany), tooMany)
    t.match(await relay.list(undefined), { status: 401 })
  })

  t.test('an address that makes too many requests gets 429', async (t) => {
    const { origin, relay } = await startEdge(t, { EDGE_REQUEST_RATE: '1r/m', EDGE_REQUEST_BURST: '3' })
    for (let n = 0; n < 4; n++) t.match(await relay.list(undefined), { status: 401 })
    t.match(await relay.list(undefined), tooMany)
    t.match(await relay.call('/register', { body: {} }), tooMany)
    for (const path of ['/', '/api/relay']) t.match(await send(origin + path), tooMany, 'also for what is not there')
  })

  t.test('callers whose certificates are not for clients meet the same limits and errors', async (t) => {
    const server = readShape('openssl/server-auth')
    const { api, relay } = await startEdge(t, { EDGE_REQUEST_RATE: '1r/m', EDGE_REQUEST_BURST: '1' })
    t.match(await relay.list(server), { status: 401, body: { code: 'certificate_unknown' } })
    await api.fastify.close()
    t.match(await relay.list(server), { status: 503, body: { code: 'service_unavailable' } })
    t.match(await relay.list(server), tooMany)
  })

  t.test('the token of a mail is in no log, not even when nginx itself refuses the request', async (t) => {
    const { api, nginx, relay } = await startEdge(t, { EDGE_REQUEST_RATE: '1r/m', EDGE_REQUEST_BURST: '1' })
    await api.fastify.close()
    const open = () => relay.call('/email/verify?token=secret')
    t.match(await open(), { status: 503 })
    t.match(await open(), { status: 503 })
    t.match(await open(), tooMany)
    t.match(await relay.list(undefined), tooMany)
    let log = ''
    for await (const line of await nginx.logs()) {
      log += line
      // The worker processes write their lines in no order.
      if (log.match(/HTTP\/1\.1" \d+/g)?.length === 4) break
    }
    t.match(log, 'limiting requests')
    t.match(log, '"GET /api/relay/email/verify HTTP/1.1" 429')
    t.match(log, '"GET /api/relay/broadcast/list HTTP/1.1" 429')
    t.notMatch(log, 'secret')
  })

  t.test('an address gets only so many event streams', async (t) => {
    const { relay, origin } = await startEdge(t, { EDGE_WATCHERS_PER_ADDRESS: '2' })
    const alice = await registerPeer(relay, 'alice')
    const streams = [await watchAs(t, origin, alice), await watchAs(t, origin, alice)]
    for (const { response } of streams) t.equal(response.statusCode, 200)
    t.match(await relay.call('/broadcast/events', { as: alice }), tooMany)
    t.match(await relay.list(alice), { status: 200 }, 'all else goes on')
    streams[0]?.response.destroy()
    const again = await eventually(
      () => watchAs(t, origin, alice),
      ({ response }) => response.statusCode === 200
    )
    t.equal(again.response.statusCode, 200)
  })

  t.test('an address gets only so many connections with a request in flight', async (t) => {
    const { relay, port } = await startEdge(t, { EDGE_CONNECTIONS: '2' })
    const sockets = await Promise.all([1, 2].map(() => open(port)))
    for (const socket of sockets) {
      socket.write('POST /api/relay/register HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n')
      t.match(String(await once(socket, 'data')), '100 Continue', 'it waits for the body, and counts')
    }
    t.match(await relay.list(undefined), tooMany)
    for (const socket of sockets) socket.destroy()
    await untilStatus(401, () => relay.list(undefined))
  })
})

async function open(port: number) {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}
