import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import type { Test } from 'tap'
import { runRelayPeer } from '../../peer/src/command/relay-peer.ts'
import { type AnnounceOptions, RelayPeer } from '../../peer/src/index.ts'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { decodePem } from '../../src/identity/certificate.ts'
import { startApi } from '../support/api.ts'
import { runInProcess, runInShell, runOnTerminal } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'
import { createPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'

const PROGRAM = 'peer/src/command/main.ts'

/** Where tests listen. */
export const HOST = '127.0.0.1'
/** What they announce, because nobody may announce a loopback address: the test's database turns it into HOST. */
export const ANNOUNCED = '192.0.2.1'

/** A tracker with direct TLS, and peers of its own. */
export async function startTracker(t: Test, env: NodeJS.ProcessEnv = {}) {
  const { certificate: ca, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: [HOST] })
  const folder = t.testdir({ 'server.crt': ca, 'server.key': privateKey })
  const { patient: database, sql } = await createDatabase(t)
  await sql.unsafe(`
    create function to_this_machine() returns trigger language plpgsql as $$
      begin
        new.addresses := array_replace(new.addresses, '${ANNOUNCED}', '${HOST}');
        return new;
      end
    $$;
    create trigger to_this_machine before insert or update on broadcasts for each row execute function to_this_machine()`)
  const tls = { TLS_CERT_PATH: join(folder, 'server.crt'), TLS_KEY_PATH: join(folder, 'server.key') }
  const run = (port = 0) => startApi(t, { database, port, env: { ...tls, ...env } })
  const api = await run()
  const dirOf = (name: string) => join(folder, name)

  /** Opens an identity, made if need be, without a call to the tracker. */
  const open = async (name: string) => {
    const email = `${name}@example.com`
    const peer = await RelayPeer.open({ dir: dirOf(name), tracker: api.origin, email, ca })
    t.teardown(() => peer.close())
    return peer
  }
  return {
    ...api,
    sql,
    ca,
    dirOf,
    open,
    /** Another one at the same address, with the same data. */
    restart: () => run(api.port),
    /** A peer that is registered, listens and is online. */
    async up(name: string, options: Partial<AnnounceOptions> = {}) {
      const peer = await open(name)
      await peer.register()
      const port = await peer.listen({ host: HOST })
      await peer.announce({ port, addresses: [ANNOUNCED], ...options })
      return Object.assign(peer, { port })
    },
    /** Makes its e-mail address another's, in one statement: between two it could come and be registered anew. */
    async take(name: string) {
      const { certificate } = await createPeer('thief')
      await sql`update clients set certificate = ${decodePem(certificate) as Buffer} where email = ${`${name}@example.com`}`
    },
    /** Runs the command in this process. */
    async run(name: string, ...args: string[]) {
      const { code, stdout, stderr } = await runInProcess(runRelayPeer, args, { env: { RELAY_PEER_DIR: dirOf(name) } })
      return { code, output: stdout + stderr }
    },
    /** Runs the command as a process. */
    command: (name: string, ...args: string[]) =>
      start(t, PROGRAM, { args, env: { RELAY_PEER_DIR: dirOf(name) }, cwd: folder }),
    /** Runs it as processes in a pipeline. */
    inShell: (name: string, line: string) =>
      runInShell(t, PROGRAM, line, { env: { RELAY_PEER_DIR: dirOf(name) }, cwd: folder }),
    /** Runs it as a process on a terminal. */
    onTerminal: (name: string, line: string, answer?: string) =>
      runOnTerminal(t, PROGRAM, line, { env: { RELAY_PEER_DIR: dirOf(name) }, cwd: folder }, answer),
    init: (name: string) => [
      'init',
      '--tracker',
      api.origin,
      '--email',
      `${name}@example.com`,
      '--ca',
      dirOf('server.crt')
    ]
  }
}

/** A server with another certificate than whoever it poses as: its port, and what it was sent. */
export async function startImpostor(t: Test, port = 0) {
  const { certificate: cert, privateKey: key } = await createPeer('mallory')
  let heard = ''
  const server = createServer({ cert, key, requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket
      .on('error', () => {})
      .on('data', (data) => {
        heard += data
      })
  })
  await once(server.listen(port, HOST), 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, heard: () => heard, close: () => server.close() }
}

/** A real https server that answers as no tracker does, or not yet. */
export async function startServer(t: Test, answer: RequestListener) {
  const { certificate: ca, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: [HOST] })
  const server = https.createServer({ cert: ca, key: privateKey }, answer)
  await once(server.listen(0, HOST), 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, ca, url: `https://${HOST}:${(server.address() as AddressInfo).port}` }
}
