import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import Fastify from 'fastify'
import tap, { type Test } from 'tap'
import { createSelfSigned } from '../peer/src/self-signed.ts'
import app from '../src/app.ts'
import { parseCertificate } from '../src/certificate.ts'
import { loadConfig } from '../src/config.ts'
import { connect, type Sql } from '../src/database.ts'
import { migrate } from '../src/migrate.ts'
import { serverOptions } from '../src/server-options.ts'

// A test's folder is removed before its teardowns, and so under a process that still runs in it, unless one of them was there
// before the folder.
tap.beforeEach((t) => t.teardown(() => {}))

/** Whether a container engine is there; `npm test` finds out. In CI it always is, or the run fails. */
export const skipWithoutContainers = process.env.TEST_CONTAINERS ? false : 'there is no container engine'

const { TEST_DATABASE_URL } = process.env
if (!TEST_DATABASE_URL) throw new Error('run the tests with npm test: it starts the PostgreSQL that they need')

/**
 * A new, migrated database of the test's own on the run's PostgreSQL: its URL, and a connection to look into it. Who has the `patient`
 * URL waits until the test gives a lock free, for the machine may be slow.
 */
export async function createDatabase(t: Test, { empty = false } = {}) {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const url = new URL(TEST_DATABASE_URL as string)
  url.pathname = `/${name}`
  const unhurried = { statementTimeout: 0, connect_timeout: 30 }
  const server = connect(TEST_DATABASE_URL as string, { max: 1, ...unhurried })
  await server`create database ${server(name)}`
  if (!empty) await migrate(url.href)
  const sql = connect(url.href, { max: 2, ...unhurried })
  t.teardown(async () => {
    await sql.end()
    await server`drop database ${server(name)} with (force)`
    await server.end()
  })
  return { url: url.href, patient: `${url.href}?lock_timeout=0&statement_timeout=0`, sql }
}

export interface Reply {
  status: number
  headers: http.IncomingHttpHeaders
  /** Whether the TLS handshake took up an earlier session. */
  isResumed: boolean
  // biome-ignore lint/suspicious/noExplicitAny: the tests say what they expect
  body: any
}

export interface Call {
  method?: string
  /** Sent as JSON; a string or a Buffer as it is. */
  body?: unknown
  headers?: http.OutgoingHttpHeaders
  /** A peer whose certificate the TLS handshake presents. */
  as?: Peer | undefined
  agent?: https.Agent
}

/** Sends one request on a connection of its own, whatever is odd about it. */
export async function send(url: string, { body, as, headers = {}, ...options }: Call = {}): Promise<Reply> {
  const raw = typeof body === 'string' || Buffer.isBuffer(body)
  const payload = body === undefined || raw ? body : JSON.stringify(body)
  const { request } = url.startsWith('https:') ? https : http
  const req = request(url, {
    agent: false,
    rejectUnauthorized: false,
    ...(as && { cert: as.certificate, key: as.privateKey }),
    method: payload === undefined ? 'GET' : 'POST',
    headers: { ...(payload !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...options
  })
  req.end(payload)
  const [response] = (await once(req, 'response')) as [http.IncomingMessage]
  const isResumed = (response.socket as TLSSocket).isSessionReused?.() ?? false
  const text = (await response.setEncoding('utf8').toArray()).join('')
  const isJson = response.headers['content-type']?.startsWith('application/json')
  return {
    status: response.statusCode as number,
    headers: response.headers,
    isResumed,
    body: isJson && options.method !== 'HEAD' ? JSON.parse(text) : text
  }
}

/** A running API, listening for real: on plain HTTP behind an edge that the test plays, or with direct TLS. */
export async function startApi(
  t: Test,
  { database = '', host = '127.0.0.1', port = 0, env = {} as NodeJS.ProcessEnv } = {}
) {
  const DATABASE_URL = database || (await createDatabase(t)).url
  const config = await loadConfig({ DATABASE_URL, LOG_LEVEL: 'silent', INTERNAL_PORT: '0', ...env })
  const fastify = Fastify(serverOptions(config))
  fastify.register(app, { config })
  await fastify.listen({ host, port })
  t.teardown(() => fastify.close())
  const { port: actual } = fastify.server.address() as AddressInfo
  const origin = `${config.tls ? 'https' : 'http'}://${host}:${actual}`
  const internal = `http://127.0.0.1:${(fastify.internal.server.address() as AddressInfo).port}`
  return { fastify, origin, internal, port: actual, relay: client(`${origin}/api/relay`) }
}

/** The contract's calls. Without TLS the certificate travels in the edge's header. */
export function client(base: string) {
  const call = (path: string, { as, headers, ...options }: Call = {}) =>
    send(base + path, {
      ...options,
      ...(base.startsWith('https:') ? { as, headers } : { headers: { ...(as && edgeHeader(as)), ...headers } })
    } as Call)
  return {
    call,
    register: (peer: { email: string; certificate: string }, options: Call = {}) =>
      call('/register', { body: { email: peer.email, certificate: peer.certificate }, ...options }),
    ready: (as: Peer | undefined, body: unknown = ANNOUNCEMENT) => call('/broadcast/ready', { as, body }),
    own: (as: Peer | undefined) => call('/broadcast/ready', { as }),
    withdraw: (as: Peer | undefined) => call('/broadcast/ready', { as, method: 'DELETE' }),
    unregister: (as: Peer | undefined) => call('/register', { as, method: 'DELETE' }),
    /** What of the caller's certificates is in force and pending; with `next`, announces that one. */
    certificate: (as: Peer | undefined, next?: { certificate: string }) =>
      call('/certificate', { as, ...(next && { body: { certificate: next.certificate } }) }),
    keepCertificate: (as: Peer | undefined) => call('/certificate', { as, method: 'DELETE' }),
    lookup: (as: Peer | undefined, email: string) =>
      call(`/broadcast/lookup?email=${encodeURIComponent(email)}`, { as }),
    list: (as: Peer | undefined) => call('/broadcast/list', { as })
  }
}

export const ANNOUNCEMENT = { port: 54321, addresses: ['192.168.1.20', '2001:db8::20'], capabilities: { chat: true } }

export type Peer = Awaited<ReturnType<typeof createPeer>>

/** A peer with a key and a certificate of its own, not registered yet. */
export async function createPeer(name = 'alice', options: Partial<Parameters<typeof createSelfSigned>[0]> = {}) {
  const pems = await createSelfSigned({ commonName: name, ...options })
  const { fingerprint } = parseCertificate(pems.certificate)
  return { email: `${name}@example.com`, fingerprint, ...pems }
}

/** A peer that is registered, with the id that it has. */
export async function registerPeer(relay: ReturnType<typeof client>, name?: string) {
  const peer = await createPeer(name)
  const { status, body } = await relay.register(peer)
  if (status !== 200) throw new Error(`${name} was not registered: ${JSON.stringify(body)}`)
  return { ...peer, clientId: body.client_id as string }
}

/** Peers that are registered with certificates that are not in force, and the code that each is refused with. */
export async function registerOutOfForce(relay: ReturnType<typeof client>, sql: Sql) {
  const changes = {
    certificate_expired: sql`not_before = now() - interval '2 days', not_after = now() - interval '1 s'`,
    certificate_not_yet_valid: sql`not_before = now() + interval '1 day'`,
    certificate_revoked: sql`revoked_at = now()`
  }
  const registering = Object.entries(changes).map(async ([code, change]) => {
    const peer = await registerPeer(relay, code)
    await sql`update clients set ${change} where email = ${peer.email}`
    return { code, peer }
  })
  return Promise.all(registering)
}

/** What the edge sends for a certificate that its handshake proved. */
export function edgeHeader({ certificate }: { certificate: string }) {
  return { 'x-ssl-cert': encodeURIComponent(certificate) }
}

/** Bytes as a CERTIFICATE block, whatever they are. */
export function toPem(bytes: Uint8Array) {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE-----`
}

export function fixture(name: string) {
  return readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8')
}

/** Runs one of the project's programs as its npm script does, in `cwd`, with no settings but `env`. */
export function start(
  t: Test,
  file: string,
  { args = [] as string[], env = {} as NodeJS.ProcessEnv, cwd = t.testdir({}) }
) {
  const { PATH, HOME, NODE_OPTIONS } = process.env
  const coverage = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('_TAPJS_')))
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', file), ...args], {
    cwd,
    env: { PATH, HOME, NODE_OPTIONS, ...coverage, ...env }
  })
  const running = follow(child)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await running.ended
  })
  return running
}

/** What a process has told people of, beside its log. */
export function withoutLog(output: string) {
  return output.replaceAll(/^\{.*\}\n/gm, '')
}

/** What a process prints, and its end. */
export function follow(child: ChildProcessWithoutNullStreams) {
  let output = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
      for (const look of waiting) look()
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code: code as number | null, signal, output }))
  return {
    child,
    ended,
    output: () => output,
    /** Resolves when the output has `text`; fails when the program ends without it. */
    printed: (text: string) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (!output.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        ended.then(() => reject(new Error(`ended without "${text}":\n${output}`)))
      })
  }
}

/**
 * A way to the database that can fail: `refuse` cuts the connections and refuses new ones, `hang-up` takes them and closes
 * them without a word, `freeze` keeps them all and lets nothing through, `forget` does that with those there are, while new
 * ones pass, as when a firewall forgets its connections.
 */
export async function startFaultyNetwork(t: Test, databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let mode: 'pass' | 'refuse' | 'hang-up' | 'freeze' | 'forget' = 'pass'
  let connections = 0
  const keep = (socket: Socket) => {
    sockets.add(socket.on('error', () => {}))
    return socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((inbound) => {
    connections++
    keep(inbound)
    if (mode === 'hang-up') return inbound.end()
    const outbound = keep(connectTcp(Number(port), hostname))
    inbound.pipe(outbound).pipe(inbound)
    inbound.on('close', () => outbound.destroy())
    outbound.on('close', () => inbound.destroy())
    if (mode === 'freeze') for (const socket of [inbound, outbound]) socket.pause()
  })
  const listen = async (at: number) => {
    await once(server.listen(at, '127.0.0.1'), 'listening')
    return (server.address() as AddressInfo).port
  }
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${await listen(0)}`
  const refuse = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(refuse)
  return {
    url: url.href,
    /** How many connections were opened through it. */
    connections: () => connections,
    async set(to: typeof mode) {
      mode = to
      if (mode === 'refuse') return refuse()
      if (!server.listening) await listen(Number(url.port))
      for (const socket of sockets) mode === 'pass' ? socket.resume() : socket.pause()
    }
  }
}

/** Asks until the answer is the wished one, at most `seconds` long. */
export async function eventually<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean, seconds = 30): Promise<T> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
    if (Date.now() > end) throw new Error(`still not so after ${seconds} s: ${inspect(answer, { depth: 2 })}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The answer 304 to a tag that is its own: whatever is written to the same server meanwhile, also by other tests, costs a 200. */
export async function unchanged(first: () => Promise<Reply>, again: (tag: string) => Promise<Reply>) {
  return eventually(
    async () => again(String((await first()).headers.etag)),
    ({ status }) => status === 304
  )
}

/** Until so many queries to a test's database wait for a lock. */
export async function lockedOut(sql: Sql, queries = 1) {
  await eventually(
    () => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    ({ count }) => count >= queries
  )
}
