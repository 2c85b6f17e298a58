import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { Test } from 'tap'
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import type { EdgeFormatName } from '../../src/identity/client-certificate.ts'
import { client, startApi } from './api.ts'
import { createDatabase } from './database.ts'
import { debianImage } from './debian-image.ts'

/** The edges that the tests run, each with the format in which it passes certificates on. */
export const EDGES = {
  nginx: { format: 'nginx', start: startNginx },
  HAProxy: { format: 'der-base64', start: startHaproxy },
  Caddy: { format: 'rfc9440', start: startCaddy }
} satisfies Record<
  string,
  {
    format: EdgeFormatName
    start: (t: Test, upstream: string, limits: Record<string, string>) => Promise<unknown>
  }
>

/** Where to listen so that only containers can connect, and the name by which they do. */
export async function hostOfContainers() {
  const { container } = await getContainerRuntimeClient()
  const { Options } = await container.dockerode.getNetwork('bridge').inspect()
  const bridge = networkInterfaces()[Options?.['com.docker.network.bridge.name'] as string]?.[0]
  // Docker Desktop has the bridge in its virtual machine.
  return bridge ? { host: bridge.address, name: bridge.address } : { host: '127.0.0.1', name: 'host.docker.internal' }
}

/** The limits of docker-compose.yml. */
export const LIMITS = {
  EDGE_REGISTER_RATE: '30r/m',
  EDGE_REGISTER_BURST: '60',
  EDGE_REQUEST_RATE: '100r/s',
  EDGE_REQUEST_BURST: '200',
  EDGE_CONNECTIONS: '100',
  EDGE_OPEN_CONNECTIONS: '200',
  EDGE_LISTS: '32',
  EDGE_LISTS_PER_ADDRESS: '8',
  EDGE_WATCHERS_PER_ADDRESS: '16'
}

/**
 * A real edge of that kind in front of an API in this process, which knows its format.
 *
 * @param limits as of `startNginx`
 */
export async function startBehind(t: Test, kind: keyof typeof EDGES, limits: Record<string, string> = {}) {
  const { format, start } = EDGES[kind]
  const { url: database, sql } = await createDatabase(t)
  const { host, name } = await hostOfContainers()
  const api = await startApi(t, { database, host, env: { CLIENT_CERT_FORMAT: format } })
  return { format, api, sql, ...(await start(t, `${name}:${api.port}`, limits)) }
}

/** A real nginx with the project's own files, in front of an API in this process. */
export async function startEdge(t: Test, limits: Record<string, string> = {}) {
  const { url: database, sql } = await createDatabase(t)
  const { host, name } = await hostOfContainers()
  const api = await startApi(t, { database, host })
  return { api, sql, ...(await startNginx(t, `${name}:${api.port}`, limits)) }
}

/**
 * A real nginx with the project's own files.
 *
 * @param upstream host and port of an API, as containers reach it
 * @param limits what differs from those of docker-compose.yml
 */
export async function startNginx(t: Test, upstream: string, limits: Record<string, string> = {}) {
  const nginx = await new GenericContainer('nginx:stable')
    .withEnvironment({ API_UPSTREAM: upstream, ...LIMITS, ...limits, NGINX_ENVSUBST_FILTER: '^(API|EDGE)_' })
    .withCopyFilesToContainer([{ source: 'nginx/nginx.conf', target: '/etc/nginx/nginx.conf' }])
    .withCopyDirectoriesToContainer([
      { source: 'nginx/templates', target: '/etc/nginx/templates' },
      { source: 'nginx/relay', target: '/etc/nginx/relay' },
      { source: 'nginx/docker-entrypoint.d', target: '/docker-entrypoint.d', mode: 0o755 }
    ])
    .withTmpFs({ '/etc/nginx/tls': '' })
    .withExposedPorts(443)
    .withWaitStrategy(Wait.forListeningPorts())
    .start()
  return { nginx, ...reached(t, nginx) }
}

/**
 * Debian's HAProxy with the files of examples/.
 *
 * @param limits with any, connections are not limited before their handshake: the example's file has its limits in it
 */
async function startHaproxy(t: Test, upstream: string, limits: Record<string, string> = {}) {
  const file = readFileSync('examples/haproxy/haproxy.cfg', 'utf8')
  const isLimited = Object.keys(limits).length === 0
  const configuration = isLimited ? file : file.replace(/^ *tcp-request connection reject.*\n/m, '')
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost' })
  const container = await (await debianEdge())
    .withCommand(['haproxy', '-f', '/etc/haproxy/haproxy.cfg'])
    .withEnvironment({ API_UPSTREAM: upstream })
    .withCopyDirectoriesToContainer([{ source: 'examples/haproxy/errors', target: '/etc/haproxy/errors' }])
    .withCopyContentToContainer([
      { content: configuration, target: '/etc/haproxy/haproxy.cfg' },
      { content: certificate + privateKey, target: '/etc/haproxy/tls/server.pem' }
    ])
    .start()
  return reached(t, container)
}

/** Debian's Caddy with the file of examples/. */
async function startCaddy(t: Test, upstream: string) {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost' })
  const container = await (await debianEdge())
    .withCommand(['caddy', 'run', '--config', '/etc/caddy/Caddyfile'])
    .withEnvironment({ API_UPSTREAM: upstream })
    .withCopyFilesToContainer([{ source: 'examples/caddy/Caddyfile', target: '/etc/caddy/Caddyfile' }])
    .withCopyContentToContainer([
      { content: certificate, target: '/etc/caddy/tls/server.crt' },
      { content: privateKey, target: '/etc/caddy/tls/server.key' }
    ])
    .start()
  return reached(t, container)
}

async function debianEdge() {
  const image = await debianImage()
  return image.withExposedPorts(443).withWaitStrategy(Wait.forListeningPorts())
}

/** How a test reaches an edge, which stops with it. */
function reached(t: Test, container: StartedTestContainer) {
  t.teardown(() => container.stop())
  const port = container.getMappedPort(443)
  const origin = `https://127.0.0.1:${port}`
  return { container, port, origin, relay: client(`${origin}/api/relay`) }
}
