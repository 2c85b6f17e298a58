import { once } from 'node:events'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { send } from '../support/http-client.ts'
import { MAIL_SETTINGS } from '../support/mail.ts'
import { start } from '../support/process.ts'

const PATHS = ['/livez', '/readyz', '/metrics', '/openapi.json', '/docs/', '/nothing']
const REFUSED = {
  status: 421,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: { error: String, code: 'misdirected_request' }
}

t.test('operators are served only under addresses and private names', async (t) => {
  const { internal } = await startApi(t, { env: { INTERNAL_HOSTS: 'status.example.com, .cluster.example' } })
  const ask = (host: string, path = '/livez') => send(internal + path, { headers: { host } })
  for (const host of [
    ...['127.0.0.1', '127.0.0.1:3003', '10.0.0.7:3003', '[::1]', '[::1]:3003', '[fd00::7]:3003'],
    ...['localhost', 'LOCALHOST:3003', 'localhost.', 'grafana.localhost', 'api', 'api:3003', 'relay_api'],
    ...['host.local', 'api.relay.svc.cluster.local:3003', 'ip-10-0-0-7.ec2.internal', 'api.relay.svc', hostname()],
    ...['status.example.com', 'Status.Example.com:3003', 'api.cluster.example', '']
  ]) {
    t.match(await ask(host), { status: 200 }, host)
  }
  for (const host of [
    ...['evil.example', 'evil.example:3003', 'localhost.evil.example', '127.0.0.1.evil.example', 'cluster.example'],
    ...[
      'api.status.example.com',
      'evilcluster.example',
      'api.relay',
      '0x7f.0.0.1',
      'evil.example.',
      'a.b:c',
      'a@evil.example'
    ]
  ]) {
    t.match(await ask(host), REFUSED, host)
  }
  for (const path of PATHS) t.match(await ask('evil.example', path), REFUSED, path)
})

t.test('a request without Host, as in HTTP/1.0 health checks, is served', async (t) => {
  const { internal } = await startApi(t)
  const socket = connect(Number(new URL(internal).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.end('GET /livez HTTP/1.0\r\n\r\n')
  t.match(await text(socket), /^HTTP\/1\.1 200 OK\r\n/)
})

t.test('the worker and the mailer check the host too', async (t) => {
  const { url: DATABASE_URL } = await createDatabase(t)
  for (const file of ['src/processes/cleanup.ts', 'src/processes/mailer.ts']) {
    const env = { ...MAIL_SETTINGS, DATABASE_URL, CLEANUP_PORT: '0', MAILER_PORT: '0' }
    const process = start(t, file, { env })
    await process.printed('Server listening at')
    const [, origin] = process.output().match(/listening at (http:[^"]+)/) as [string, string]
    t.match(await send(`${origin}/readyz`), { status: 200 }, file)
    for (const path of PATHS) {
      t.match(await send(origin + path, { headers: { host: 'evil.example' } }), REFUSED, `${file} ${path}`)
    }
  }
})
