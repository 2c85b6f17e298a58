import { createHash, X509Certificate } from 'node:crypto'
import type { Peer } from './peers.ts'

/** A request, and the status of its answer. */
export interface Call {
  method?: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: object
  status: number
}

/** How a subject is asked for what all subjects do. */
export interface Protocol {
  announce: (port?: number) => Call
  lookup: (peer: Pick<Peer, 'email' | 'certificate'>) => Call
}

const ADDRESSES = ['192.168.1.20', '2001:db8::20']
const PORT = 54321

export const relay = {
  announce: (port = PORT) => ({
    method: 'POST',
    path: '/api/relay/broadcast/ready',
    body: { port, addresses: ADDRESSES, capabilities: { chat: true } },
    status: 200
  }),
  lookup: ({ email }: { email: string }) => ({
    path: `/api/relay/broadcast/lookup?email=${encodeURIComponent(email)}`,
    status: 200
  }),
  register: ({ email, certificate }: { email: string; certificate: string }) => ({
    method: 'POST',
    path: '/api/relay/register',
    body: { email, certificate },
    status: 200
  }),
  list: () => ({ path: '/api/relay/broadcast/list', status: 200 }),
  /** For a caller that has it already, whatever its tag: PostgreSQL's own work changes tags meanwhile. */
  knownList: () => ({ path: '/api/relay/broadcast/list', headers: { 'if-none-match': '*' }, status: 304 })
} satisfies Protocol & Record<string, (...args: never[]) => Call>

/** What nginx answers itself: everything outside `/api/relay/`. */
export const edge: Protocol = {
  announce: (port) => ({ ...relay.announce(port), path: '/', status: 404 }) as Call,
  lookup: (peer) => ({ ...relay.lookup(peer), path: '/', status: 404 })
}

/** Syncthing's discovery, version 3, under a path that our nginx passes on. */
export const stdiscosrv: Protocol = {
  announce: (port = PORT) => ({
    method: 'POST',
    path: '/api/relay/',
    body: {
      addresses: ADDRESSES.map((address) => `tcp://${address.includes(':') ? `[${address}]` : address}:${port}`)
    },
    status: 204
  }),
  lookup: ({ certificate }) => ({ path: `/api/relay/?device=${deviceId(certificate)}`, status: 200 })
}

/** The form without check characters, which is valid too. */
function deviceId(certificate: string) {
  const digest = createHash('sha256').update(new X509Certificate(certificate).raw).digest()
  return base32(digest)
}

/** RFC 4648, without padding. */
function base32(bytes: Uint8Array) {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return bits.replace(
    /.{1,5}/g,
    (five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(five.padEnd(5, '0'), 2)] as string
  )
}

/** A call's bytes on the wire. */
export function toRequest({ method = 'GET', path, headers = {}, body }: Call, isKept: boolean): Uint8Array {
  const text = body === undefined ? '' : JSON.stringify(body)
  const lines = Object.entries({
    host: 'localhost',
    ...headers,
    // nginx closes first, so that the connection's port is free here at once.
    ...(!isKept && { connection: 'close' }),
    ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${text}`)
}
