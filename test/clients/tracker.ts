import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { renewServerCertificate } from '../../src/http/server-certificate.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { hostOfContainers, startNginx } from '../support/edge.ts'

/** The name by which clients in containers know the tracker. */
export const TRACKER = 'relay.test'

export type Edge = keyof typeof EDGES
export type Tracker = Awaited<ReturnType<(typeof EDGES)[Edge]>>

/** Registrations need proof. */
const PROOF = { REGISTRATION_PROOF: 'required' }

/**
 * Trackers. Clients in containers use `url`, where TRACKER resolves to `address`; this machine uses `localUrl`, and containers reach it at
 * `host`. All trust `ca`.
 */
export const EDGES = {
  async 'direct TLS'(t: Test) {
    const { host } = await hostOfContainers()
    const dir = t.testdir({})
    await renewServerCertificate(dir, [TRACKER, host])
    const ca = readFileSync(join(dir, 'ca.crt'), 'utf8')
    const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key'), ...PROOF }
    const api = await startApi(t, { database: (await createDatabase(t)).patient, host, env })
    return { ca, relay: api.relay, host, address: host, url: `https://${TRACKER}:${api.port}`, localUrl: api.origin }
  },

  async nginx(t: Test) {
    const { host, name } = await hostOfContainers()
    const api = await startApi(t, { database: (await createDatabase(t)).patient, host, env: PROOF })
    const edge = await startNginx(t, `${name}:${api.port}`, { SERVER_NAME: TRACKER })
    const { output: ca } = await edge.nginx.exec(['cat', '/etc/nginx/tls/ca.crt'])
    const address = edge.nginx.getIpAddress('bridge')
    return { ca, relay: edge.relay, host, address, url: `https://${TRACKER}`, localUrl: edge.origin }
  }
}
