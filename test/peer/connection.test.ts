import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { connectToPeer } from '../../peer/src/connection.ts'
import { Identity } from '../../peer/src/identity.ts'
import { race } from '../../peer/src/race.ts'

const SIGNAL = new AbortController().signal

function identity(t: Test, name: string) {
  const dir = join(t.testdir({}), name)
  return Identity.create(dir, { tracker: 'https://localhost', email: `${name}@example.com` })
}

/** A peer's own server on one of the loopback addresses. */
async function listen(t: Test, { credentials }: Identity, host = '127.0.0.1', port = 0) {
  const options = { cert: credentials.certificate, key: credentials.privateKey, requestCert: true }
  const server = createTlsServer({ ...options, rejectUnauthorized: false }, (socket) =>
    socket.on('error', () => {}).end('hi')
  )
  await once(server.listen(port, host), 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

t.test('a peer whose first address falls silent is reached at the second', async (t) => {
  const [alice, bob] = [await identity(t, 'alice'), await identity(t, 'bob')]
  const port = await listen(t, bob)
  let blackHoled = 0
  const blackHole = createServer((socket) => {
    blackHoled++
    socket
      .resume()
      .on('error', () => {})
      .on('close', () => blackHole.close())
  })
  await once(blackHole.listen(port, '127.0.0.2'), 'listening')
  const closed = once(blackHole, 'close')
  const { fingerprint } = bob.credentials
  const peer = { email: 'bob@example.com', addresses: ['127.0.0.2', '127.0.0.1'], port, fingerprint }
  const socket = await connectToPeer(peer, alice.credentials, SIGNAL)
  t.equal(socket.remoteAddress, '127.0.0.1')
  t.same(await socket.setEncoding('utf8').toArray(), ['hi'])
  t.equal(blackHoled, 1, 'the first was tried')
  await closed
  t.pass('and given up')
})

t.test('an impostor at the first address is sent nothing, and the peer is reached at the second', async (t) => {
  const [alice, bob, mallory] = [await identity(t, 'alice'), await identity(t, 'bob'), await identity(t, 'mallory')]
  const port = await listen(t, bob)
  await listen(t, mallory, '127.0.0.2', port)
  const { fingerprint } = bob.credentials
  const peer = { email: 'bob@example.com', addresses: ['127.0.0.2', '127.0.0.1'], port, fingerprint }
  const socket = await connectToPeer(peer, alice.credentials, SIGNAL)
  t.equal(socket.remoteAddress, '127.0.0.1')
  socket.destroy()
  await t.rejects(connectToPeer({ ...peer, addresses: ['127.0.0.3', '127.0.0.2'] }, alice.credentials, SIGNAL), {
    code: 'impostor',
    message: /the peer at 127\.0\.0\.2 port \d+ is not bob@example\.com/
  })
})

t.test('a peer that nobody can reach is reported, and so is a caller that changes its mind', async (t) => {
  const [alice, bob] = [await identity(t, 'alice'), await identity(t, 'bob')]
  const { fingerprint } = bob.credentials
  const peer = { email: 'bob@example.com', addresses: ['127.0.0.2', '127.0.0.3'], port: 1, fingerprint }
  await t.rejects(connectToPeer(peer, alice.credentials, SIGNAL), {
    code: 'peer_unreachable',
    message: /cannot be reached at port 1 of 127\.0\.0\.2 \(.*ECONNREFUSED.*\), 127\.0\.0\.3 \(.*ECONNREFUSED/
  })
  await t.rejects(connectToPeer(peer, alice.credentials, AbortSignal.abort(new Error('changed my mind'))), /my mind/)
})

t.test('a race starts each attempt after a failure or the head start, and has one winner', async (t) => {
  const order: number[] = []
  const destroyed: number[] = []
  const result = (n: number) => ({ n, destroy: () => destroyed.push(n) })
  const late = Promise.withResolvers<ReturnType<typeof result>>()
  const winner = await race([
    async () => {
      order.push(1)
      throw new Error('at once')
    },
    () => {
      order.push(2)
      return late.promise
    },
    async (signal) => {
      order.push(3)
      signal.addEventListener('abort', () => order.push(0))
      return result(3)
    },
    async () => {
      order.push(4)
      return result(4)
    }
  ])
  t.equal(winner.n, 3)
  t.same(order, [1, 2, 3, 0])
  late.resolve(result(2))
  await setImmediate()
  t.same(destroyed, [2], 'what comes too late is destroyed')

  const errors = await race([() => Promise.reject(new Error('a')), () => Promise.reject(new Error('b'))]).catch(
    ({ errors }) => errors.map(({ message }: Error) => message)
  )
  t.same(errors, ['a', 'b'])
  t.equal(
    (await race([() => new Promise<ReturnType<typeof result>>((resolve) => setTimeout(resolve, 400, result(5)))])).n,
    5
  )
})
