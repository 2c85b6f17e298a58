import { once } from 'node:events'
import { connect as connectTcp, Server, type Socket } from 'node:net'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { listenForPeers } from '../../peer/src/connections/listener.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer } from '../support/peers.ts'

/** A peer that waits to be told who calls; the server that listens for it. */
async function startListener(t: Test, onCredentials = () => {}) {
  const { listen } = Server.prototype
  let server: Server | undefined
  Server.prototype.listen = function (this: Server, ...args: unknown[]) {
    server = this
    return Reflect.apply(listen, this, args)
  }
  t.teardown(() => Object.assign(Server.prototype, { listen }))
  let asked = 0
  const credentials = { ...(await createPeer('alice')), notBefore: new Date(), notAfter: new Date() }
  const listener = await listenForPeers({
    host: '127.0.0.1',
    port: 0,
    credentials: () => {
      onCredentials()
      return credentials
    },
    identify: () => {
      asked++
      return new Promise(() => {})
    },
    onCaller: () => {},
    onRefused: () => {}
  })
  t.teardown(listener.close)
  return { port: listener.port, server: server as Server, asked: () => asked }
}

t.test('a caller that does not finish the handshake is cut off, and there are at most 1024 connections', async (t) => {
  const { port, server } = await startListener(t)
  t.equal(server.maxConnections, 1024)
  const silent = connectTcp(port, '127.0.0.1')
    .on('error', () => {})
    .resume()
  await eventually(async () => silent.closed, Boolean, 120)
})

t.test('a listener survives a machine with too many open files', async (t) => {
  let isFull = false
  const { port, server } = await startListener(t, () => {
    if (isFull) throw new Error('EMFILE: too many open files')
  })
  isFull = true
  server.emit('error', new Error('accept EMFILE'))
  const { certificate: cert, privateKey: key } = await createPeer('bob')
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key })
  await once(socket, 'secureConnect')
  socket.destroy()
})

t.test('a listener asks about at most 256 callers at a time', async (t) => {
  const { port, asked } = await startListener(t)
  const { certificate: cert, privateKey: key } = await createPeer('bob')
  const call = () => connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key }).on('error', () => {})
  const waiting: Socket[] = []
  t.teardown(() => {
    for (const socket of waiting) socket.destroy()
  })
  // Not all at once: on a slow machine their handshakes would take too long.
  while (waiting.length < 256) {
    waiting.push(...Array.from({ length: 32 }, call))
    await eventually(
      async () => asked(),
      (count) => count === waiting.length
    )
  }
  t.same((await call().setEncoding('utf8').toArray()).join(''), 'refused busy\n')
})

t.test('a listener accepts only TLS 1.2 and 1.3', async (t) => {
  const { port } = await startListener(t)
  const { certificate: cert, privateKey: key } = await createPeer('bob')
  const protocol = async (options: object) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key, ...options }).on(
      'error',
      () => {}
    )
    await once(socket, 'secureConnect')
    const version = socket.getProtocol()
    socket.destroy()
    return version
  }
  t.equal(await protocol({}), 'TLSv1.3')
  t.equal(await protocol({ maxVersion: 'TLSv1.2' }), 'TLSv1.2')
  await t.rejects(protocol({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
})
