import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { Test } from 'tap'
import app from '../../src/app.ts'
import { serverOptions } from '../../src/http/server-options.ts'
import { loadConfig } from '../../src/runtime/config.ts'
import { createDatabase } from './database.ts'
import { type Call, send } from './http-client.ts'
import { edgeHeader, type Peer } from './peers.ts'

/** A running API that listens for real: with plain HTTP, where the test plays the edge, or with direct TLS. */
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
  const internal = `http://127.0.0.1:${(fastify.management.server.address() as AddressInfo).port}`
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
    /** The caller's valid and pending certificates; with `next`, proposes that one. */
    certificate: (as: Peer | undefined, next?: { certificate: string }, signature?: string) =>
      call('/certificate', { as, ...(next && { body: { certificate: next.certificate, signature } }) }),
    keepCertificate: (as: Peer | undefined) => call('/certificate', { as, method: 'DELETE' }),
    lookup: (as: Peer | undefined, email: string) =>
      call(`/broadcast/lookup?email=${encodeURIComponent(email)}`, { as }),
    list: (as: Peer | undefined) => call('/broadcast/list', { as })
  }
}

export const ANNOUNCEMENT = { port: 54321, addresses: ['192.168.1.20', '2001:db8::20'], capabilities: { chat: true } }
