import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect, createSecureContext } from 'node:tls'

// Runs in a container of its own that shares the edge's network: every address of 127.0.0.0/8 is a caller. Opens `count` connections, keeps them,
// and from then on prints how many are still open.

const [kind, count, folder] = process.argv.slice(2) as [string, string, string]
const PER_ADDRESS = 100
const BATCH = 50
/** Milliseconds after which it exits by itself. */
const LIFETIME = 900_000

const TO = { host: '127.0.0.1', port: 443 }
const KINDS: Record<string, (localAddress: string) => Promise<Socket>> = {
  /** Says that a first message of 131 KB follows, for which OpenSSL makes room. */
  async hello(localAddress) {
    const socket = await opened(connectTcp({ ...TO, localAddress }), 'connect')
    const message = Buffer.concat([Buffer.from([1, 1, 0xff, 0xf0]), Buffer.alloc(200)])
    socket.write(Buffer.concat([Buffer.from([22, 3, 1, 0, message.length]), message]))
    return socket
  },
  /** Sends the largest headers allowed, and a body without its last byte. */
  body: requestWith(''),
  /** The same with as many certificates as OpenSSL accepts. */
  chain: requestWith('chain.crt')
}

function requestWith(chain: string) {
  const pem = (name: string) => readFileSync(`${folder}/${name}`, 'utf8')
  const context = { cert: pem('client.crt') + (chain && pem(chain)), key: pem('client.key') }
  const secureContext = createSecureContext(context)
  const header = `x: ${'x'.repeat(7900)}\r\n`
  const head = `POST /api/relay/broadcast/ready HTTP/1.1\r\nHost: localhost\r\n${header}${header}Content-Length: 16384\r\n\r\n`
  return async (localAddress: string) => {
    const options = { ...TO, localAddress, secureContext, rejectUnauthorized: false }
    const socket = await opened(connect(options), 'secureConnect')
    socket.write(head + 'x'.repeat(16_000))
    const more = setInterval(() => socket.write('x'), 8000)
    return socket.on('close', () => clearInterval(more))
  }
}

/** Resolves when it is open or has failed. */
function opened<S extends Socket>(socket: S, event: string) {
  socket.on('error', () => {})
  return new Promise<S>((resolve) => socket.once(event, () => resolve(socket)).once('close', () => resolve(socket)))
}

setTimeout(() => process.exit(), LIFETIME)
let open = 0
const openOne = KINDS[kind] as (localAddress: string) => Promise<Socket>
for (let n = 0; n < Number(count); n += BATCH) {
  const address = `127.1.${Math.floor(n / PER_ADDRESS / 250)}.${1 + (Math.floor(n / PER_ADDRESS) % 250)}`
  const sockets = await Promise.all(Array.from({ length: BATCH }, () => openOne(address)))
  for (const socket of sockets) {
    if (socket.destroyed) continue
    open++
    socket.on('close', () => open--)
  }
}
for (;;) {
  console.log(open)
  await pause(500)
}
