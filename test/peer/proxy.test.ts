import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t from 'tap'
import { start } from '../support/process.ts'
import { HOST, startTracker } from './helper.ts'

t.test('a peer reaches its tracker through the proxy that Node.js is told to use', async (t) => {
  const tracker = await startTracker(t)
  const asked: unknown[] = []
  const proxy = createServer().on('connect', ({ url }, client) => {
    asked.push(url)
    const server = connect(tracker.port, HOST, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      client.pipe(server).pipe(client)
    })
    for (const socket of [client, server]) socket.on('error', () => {})
  })
  await once(proxy.listen(0, HOST), 'listening')
  t.teardown(() => proxy.close())
  const env = {
    HTTPS_PROXY: `http://${HOST}:${(proxy.address() as AddressInfo).port}`,
    RELAY_PEER_DIR: tracker.dirOf('alice')
  }
  const run = (env: NodeJS.ProcessEnv, ...args: string[]) =>
    start(t, 'peer/src/command/main.ts', { args, env, cwd: tracker.dirOf('.') }).ended
  t.match(await run({ ...env, NODE_USE_ENV_PROXY: '1' }, ...tracker.init('alice')), { code: 0 })
  t.same(asked, [tracker.origin.replace('https://', '')], 'with its own certificate, inside the tunnel')
  t.match(await run(env, 'list'), { code: 0 })
  t.equal(asked.length, 1, 'and else without it')

  const refused = await run({ ...env, NODE_USE_ENV_PROXY: '1', HTTPS_PROXY: 'http://127.0.0.1:1' }, 'list')
  t.match(refused, { code: 5, output: /cannot be reached/ })
})
