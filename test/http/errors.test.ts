import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { MAX_REQUESTS } from '../../src/http/load-shedding.ts'
import { startApi } from '../support/api.ts'
import { connectionsOf } from '../support/connections.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

t.test('an address without a route is 404', async (t) => {
  const { relay, origin } = await startApi(t)
  const alice = await registerPeer(relay)
  for (const path of [
    ...['/', '/api', '/api/relay', '/api/relay/', '/api/relay/REGISTER', '/api/relay/register/', '/metricsx'],
    ...['/api/relay/heartbeat', '/api/relay/broadcast', '/api/relay/broadcast/heartbeat', '/api/relay/../livez'],
    ...['/:(', '/api/relay/:(', '/api/relay/broadcast/l:([)', '/api/relay/*', '/api/relay/:call']
  ]) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const reply = await send(origin + path, { method, as: alice })
      t.match(reply, { status: 404, body: { error: String, code: 'not_found' } }, `${method} ${path}`)
    }
  }
})

t.test('a method that an address does not have is 405, with those that it has', async (t) => {
  const { relay } = await startApi(t)
  const allowed = {
    '/register': 'POST, DELETE',
    '/broadcast/ready': 'POST, GET, HEAD, DELETE',
    '/broadcast/lookup?email=alice@example.com': 'GET, HEAD',
    '/broadcast/list': 'GET, HEAD'
  }
  for (const [path, allow] of Object.entries(allowed)) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      if (allow.includes(method)) continue
      const reply = await relay.call(path, { method })
      t.match(
        reply,
        { status: 405, headers: { allow }, body: { error: String, code: 'method_not_allowed' } },
        `${method} ${path}`
      )
    }
  }
})

t.test('a body that is too large or not JSON is refused', async (t) => {
  const { relay } = await startApi(t)
  const large = { email: 'a@example.com', certificate: 'x'.repeat(16 * 1024) }
  t.match(await relay.call('/register', { body: large }), {
    status: 413,
    body: { error: String, code: 'payload_too_large' }
  })
  for (const headers of [
    { 'content-type': 'text/xml' },
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' }
  ]) {
    const reply = await relay.call('/register', { body: 'email=a', headers })
    t.match(reply, { status: 415, body: { error: String, code: 'unsupported_media_type' } })
  }
})

t.test('an address that cannot be decoded is 400', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.call('/%zz'), { status: 400, body: { error: String, code: 'bad_request' } })
})

t.test('bytes that are not HTTP get a JSON error', async (t) => {
  const { port } = await startApi(t)
  const raw = async (text: string) => {
    const socket = connect(port, '127.0.0.1').setEncoding('utf8')
    socket.write(text)
    const [head, body] = (await socket.toArray()).join('').split('\r\n\r\n') as [string, string]
    t.match(head, /content-type: application\/json/)
    t.match(head, `content-length: ${Buffer.byteLength(body)}`)
    return [Number(head.split(' ')[1]), JSON.parse(body)]
  }
  t.match(await raw('hello\r\n\r\n'), [400, { error: String, code: 'bad_request' }])
  const long = `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(17 * 1024)}\r\n\r\n`
  t.match(await raw(long), [431, { error: String, code: 'request_header_fields_too_large' }])
})

t.test('a request that never ends is cut off after 10 seconds', async (t) => {
  const { port } = await startApi(t)
  for (const start of [
    'POST /api/relay/register HTTP/1.1\r\nhost: a\r\n',
    'POST /api/relay/register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'
  ]) {
    const socket = connect(port, '127.0.0.1').setEncoding('utf8')
    socket.write(start)
    const began = Date.now()
    const reply = (await socket.toArray()).join('')
    t.ok(Date.now() - began < 45_000, 'after 10 s rather than a minute')
    t.match(reply, /^HTTP\/1\.1 408 Request Timeout\r\n/)
    t.match(reply, /"code":"request_timeout"/)
  }
})

t.test("bodies that never arrive take up nobody's place", async (t) => {
  const { fastify, port, relay } = await startApi(t)
  const sockets = Array.from({ length: MAX_REQUESTS + 1 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const head =
    'POST /api/relay/register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{'
  for (const socket of sockets) socket.write(head)
  const peer = await createPeer()
  await eventually(
    () => connectionsOf(fastify.server),
    (count) => count > MAX_REQUESTS
  )
  for (let n = 0; n < 20; n++) t.match(await relay.ready(peer), { status: 401 })
  t.match(await relay.register(peer), { status: 200 })
})

t.test('a caller who has hung up gets no answer', async (t) => {
  const { fastify, port } = await startApi(t)
  const socket = connect(port, '127.0.0.1')
  const [serverSide] = (await once(fastify.server, 'connection')) as [import('node:net').Socket]
  fastify.server.emit('clientError', Object.assign(new Error('gone'), { code: 'ECONNRESET' }), serverSide)
  t.ok(serverSide.destroyed)
  t.same(await socket.toArray(), [])
})

t.test('an internal error says nothing about the inside', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay, internal } = await startApi(t, { database })
  const alice = await registerPeer(relay)
  await sql`drop table broadcasts`
  t.same((await relay.ready(alice)).body, { error: 'something went wrong on our side', code: 'internal_error' })
  t.equal((await relay.list(alice)).status, 500)
  t.equal((await send(`${internal}/readyz`)).status, 500, 'not ready with another schema')
})

t.test('health checks are for operators alone', async (t) => {
  const { origin, internal } = await startApi(t)
  t.match(await send(`${internal}/livez`), { status: 200, body: { status: 'alive' } })
  t.match(await send(`${internal}/readyz`), { status: 200, body: { status: 'ready' } })
  t.match(await send(`${origin}/readyz`), { status: 404 })
})
