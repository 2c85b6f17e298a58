import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { RelayPeer } from '../../peer/src/index.ts'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { decodePem } from '../../src/identity/certificate.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { createPeer } from '../support/peers.ts'
import { follow, start } from '../support/process.ts'

const COMMAND = join(import.meta.dirname, '../../peer/src/command/main.ts')

/** Where tests listen. */
export const HOST = '127.0.0.1'

/** A tracker with direct TLS, and peers of its own. */
export async function startTracker(t: Test, env: NodeJS.ProcessEnv = {}) {
  const { certificate: ca, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: [HOST] })
  const folder = t.testdir({ 'server.crt': ca, 'server.key': privateKey })
  const { patient: database, sql } = await createDatabase(t)
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
    async up(name: string, options: { ttl?: number; addresses?: () => string[] } = {}) {
      const peer = await open(name)
      await peer.register()
      const port = await peer.listen({ host: HOST })
      await peer.announce({ port, host: HOST, ...options })
      return Object.assign(peer, { port })
    },
    /** Makes its e-mail address another's, in one statement: between two it could come and be registered anew. */
    async take(name: string) {
      const { certificate } = await createPeer('thief')
      await sql`update clients set certificate = ${decodePem(certificate) as Buffer} where email = ${`${name}@example.com`}`
    },
    /** Runs the command. */
    command: (name: string, ...args: string[]) => {
      const env = { RELAY_PEER_DIR: dirOf(name) }
      return start(t, 'peer/src/command/main.ts', { args, env, cwd: folder })
    },
    /** Runs it in a pipeline, where `peer` is its name: the exit codes of the pipeline's commands, and what all of them printed. */
    inShell: async (name: string, line: string) => {
      const script = `peer() { "${process.execPath}" "${COMMAND}" "$@"; }; ${line}; echo "\${PIPESTATUS[*]}"`
      const child = spawn('bash', ['-c', script], { env: { ...process.env, RELAY_PEER_DIR: dirOf(name) }, cwd: folder })
      t.teardown(() => child.kill('SIGKILL'))
      return (await follow(child).ended).output
    },
    /** Runs the command on a terminal. */
    onTerminal: (name: string, line: string, input = '') => {
      // In the shell's place, for one such as dash would be ended by Ctrl-C and have its own exit code.
      const shell = `exec "${process.execPath}" "${COMMAND}" ${line}`
      const env = { ...process.env, RELAY_PEER_DIR: dirOf(name), TERM: 'xterm' }
      const child = spawn('script', ['-qec', shell, '/dev/null'], { env, cwd: folder })
      t.teardown(() => child.kill('SIGKILL'))
      child.stdin.on('error', () => {}).write(input)
      return follow(child)
    },
    init: (name: string) => ['init', '--tracker', api.origin, '--email', `${name}@example.com`, '--ca', 'server.crt']
  }
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
