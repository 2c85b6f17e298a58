import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { dial } from '../../peer/src/connections/dial.ts'
import { race } from '../../peer/src/connections/race.ts'
import { Identity } from '../../peer/src/identity/identity.ts'

const UNTIL = { signal: new AbortController().signal, limit: new AbortController().signal }

function identity(t: Test, name: string) {
  const dir = join(t.testdir({}), name)
  return Identity.open(dir, { tracker: 'https://localhost', email: `${name}@example.com` })
}

/** A peer that answers with this text, on one of the loopback addresses. */
async function listen(
  t: Test,
  { credentials }: Identity,
  { text = 'accepted\nhi', host = '127.0.0.1', port = 0 } = {}
) {
  const options = { cert: credentials.certificate, key: credentials.privateKey, requestCert: true }
  const server = createTlsServer({ ...options, rejectUnauthorized: false, ALPNProtocols: ['relay-peer/2'] }, (socket) =>
    socket.on('error', () => {}).end(text)
  )
  await once(server.listen(port, host), 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

function callee({ credentials }: Identity, port: number, addresses: string[], isTelling = true) {
  const { fingerprint } = credentials
  return {
    email: 'bob@example.com',
    port,
    fingerprint,
    candidates: addresses.map((address) => ({ address, isTelling }))
  }
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
  const { socket } = await dial(callee(bob, port, ['127.0.0.2', '127.0.0.1']), alice.credentials, UNTIL)
  t.equal(socket.remoteAddress, '127.0.0.1')
  t.same(await socket.setEncoding('utf8').toArray(), ['hi'], 'what follows the verdict is left to be read')
  t.equal(blackHoled, 1, 'the first was tried')
  await closed
  t.pass('and given up')
})

t.test('an impostor at the first address is sent nothing, and the peer is reached at the second', async (t) => {
  const [alice, bob, mallory] = [await identity(t, 'alice'), await identity(t, 'bob'), await identity(t, 'mallory')]
  const port = await listen(t, bob)
  await listen(t, mallory, { host: '127.0.0.2', port })
  await listen(t, alice, { host: '127.0.0.4', port })
  const { socket } = await dial(callee(bob, port, ['127.0.0.2', '127.0.0.1']), alice.credentials, UNTIL)
  t.equal(socket.remoteAddress, '127.0.0.1')
  socket.destroy()
  const elsewhere = ['127.0.0.3', '127.0.0.2', '127.0.0.4']
  const attempts = [{ code: 'ECONNREFUSED' }, { code: 'other_peer' }, { code: 'own_identity' }]
  await t.rejects(dial(callee(bob, port, elsewhere), alice.credentials, UNTIL), {
    code: 'impostor',
    message: /what answers at 127\.0\.0\.2 port \d+ is not bob@example\.com/,
    attempts
  })
  await t.rejects(
    dial(callee(bob, port, elsewhere, false), alice.credentials, UNTIL),
    { code: 'peer_unreachable', attempts },
    'where anybody may be, somebody else means nothing'
  )
})

t.test('a peer that refuses the caller says why, and one that says nothing is no peer', async (t) => {
  const [alice, bob] = [await identity(t, 'alice'), await identity(t, 'bob')]
  const call = async (text: string) =>
    dial(callee(bob, await listen(t, bob, { text }), ['127.0.0.1']), alice.credentials, UNTIL)
  await t.rejects(call('refused busy\n'), { code: 'refused', reason: 'busy', message: /too many peers/ })
  await t.rejects(call('refused tired\n'), { code: 'refused', reason: 'tired', message: /does not accept.*: tired/ })
  for (const text of ['SSH-2.0-OpenSSH_10.0\n', 'x'.repeat(100)]) {
    await t.rejects(call(text), { code: 'peer_unreachable', message: /another protocol/ })
  }
  for (const text of ['', 'acc'])
    await t.rejects(call(text), { code: 'peer_unreachable', message: /before it accepted/ })
})

t.test('a peer that nobody can reach is reported, and so is a caller that changes its mind', async (t) => {
  const [alice, bob] = [await identity(t, 'alice'), await identity(t, 'bob')]
  const peer = callee(bob, 1, ['127.0.0.2', '127.0.0.3'])
  await t.rejects(dial(peer, alice.credentials, UNTIL), {
    code: 'peer_unreachable',
    message: /cannot be reached \(127\.0\.0\.2 port 1: .*ECONNREFUSED.*; 127\.0\.0\.3 port 1: .*ECONNREFUSED/
  })
  await t.rejects(
    dial(peer, alice.credentials, { ...UNTIL, signal: AbortSignal.abort(new Error('changed my mind')) }),
    /my mind/
  )

  const blackHole = createServer().listen(0, '127.0.0.2')
  t.teardown(() => blackHole.close())
  await once(blackHole, 'listening')
  const nobody = callee(bob, (blackHole.address() as AddressInfo).port, ['127.0.0.2'])
  await t.rejects(dial({ ...nobody, patience: 100 }, alice.credentials, UNTIL), {
    code: 'peer_unreachable',
    attempts: [{ code: 'timeout', message: 'no answer in time' }]
  })

  const silent = createTlsServer({ cert: bob.credentials.certificate, key: bob.credentials.privateKey })
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => silent.close())
  const over = new AbortController()
  const closed = new Promise((resolve) =>
    silent.on('secureConnection', (socket) => {
      socket.on('error', () => {}).on('close', resolve)
      over.abort(new Error('too slow'))
    })
  )
  const { port } = silent.address() as AddressInfo
  await t.rejects(
    dial(callee(bob, port, ['127.0.0.1']), alice.credentials, { ...UNTIL, signal: over.signal }),
    /too slow/
  )
  await closed
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
