import { networkInterfaces } from 'node:os'
import type { Test } from 'tap'
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers'
import { client, createDatabase, startApi } from './helper.ts'

/** Where to listen so that containers reach it and nobody else does, and the name that they reach it by. */
export async function hostOfContainers() {
  const { container } = await getContainerRuntimeClient()
  const { Options } = await container.dockerode.getNetwork('bridge').inspect()
  const bridge = networkInterfaces()[Options?.['com.docker.network.bridge.name'] as string]?.[0]
  // Docker Desktop has the bridge in a machine of its own.
  return bridge ? { host: bridge.address, name: bridge.address } : { host: '127.0.0.1', name: 'host.docker.internal' }
}

/** Those of docker-compose.yml. */
const LIMITS = {
  EDGE_REGISTER_RATE: '30r/m',
  EDGE_REGISTER_BURST: '60',
  EDGE_REQUEST_RATE: '100r/s',
  EDGE_REQUEST_BURST: '200',
  EDGE_CONNECTIONS: '100',
  EDGE_LISTS: '32'
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
  t.teardown(() => nginx.stop())
  const port = nginx.getMappedPort(443)
  const origin = `https://127.0.0.1:${port}`
  return { nginx, port, origin, relay: client(`${origin}/api/relay`) }
}
