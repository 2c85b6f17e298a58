import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { client } from './api.ts'
import { debianImage } from './debian-image.ts'
import { docker, succeeds } from './docker.ts'
import { LIMITS } from './edge.ts'
import { eventually } from './eventually.ts'
import { buildImage } from './image.ts'

/** The edge's IPv6 address in its container, which can call it from any other. */
export const SERVER = 'fd00:1::1'
const OWN_ADDRESSES = [
  // All of fd00:1::/32 is this machine, as 127.0.0.0/8 is.
  'ip -6 route add local fd00:1::/32 dev lo',
  `ip -6 addr add ${SERVER}/128 dev lo`,
  'ip -6 addr add fe80::1/64 dev lo',
  'ip -6 addr add fe80::2/64 dev lo'
]
const MANY_ADDRESSES = [
  '--cap-add=NET_ADMIN',
  '--sysctl=net.ipv6.conf.all.disable_ipv6=0',
  '--sysctl=net.ipv6.ip_nonlocal_bind=1'
]

interface Options {
  /** What differs from the limits of docker-compose.yml. */
  limits?: Record<string, string>
  /** Host and port of an API, as containers reach it; none by default. */
  upstream?: string
  /** More options of docker run. */
  options?: string[]
}

export type EdgeContainer = Awaited<ReturnType<typeof startNginxContainer>>

/** A real nginx with the project's own files and its stream module, in a container that can call it from many addresses. */
export async function startNginxWithAddresses(t: Test, { options = [], ...rest }: Options = {}) {
  const nginx = await startNginxContainer(t, { ...rest, options: [...MANY_ADDRESSES, ...options] })
  await nginx.run(OWN_ADDRESSES.join(' && '))
  return nginx
}

/** A real nginx with the project's own files and its stream module. */
export async function startNginxContainer(t: Test, { limits = {}, upstream = '127.0.0.1:1', options = [] }: Options) {
  await buildImage('relay-tracker-test-nginx', 'test/nginx')
  const folder = join(import.meta.dirname, '../../nginx')
  const settings = { API_UPSTREAM: upstream, ...LIMITS, ...limits, NGINX_ENVSUBST_FILTER: '^(API|EDGE)_' }
  return startContainer(t, [
    '--tmpfs=/etc/nginx/tls',
    ...Object.entries(settings).map(([name, value]) => `--env=${name}=${value}`),
    ...['nginx.conf', 'relay', 'templates'].map((name) => `--volume=${folder}/${name}:/etc/nginx/${name}:ro`),
    ...['30-fit-machine.sh', '40-server-certificate.sh'].map(
      (name) => `--volume=${folder}/docker-entrypoint.d/${name}:/docker-entrypoint.d/${name}:ro`
    ),
    ...options,
    'relay-tracker-test-nginx'
  ])
}

/**
 * Debian's HAProxy with the files of examples/, in a container that can call it from many addresses.
 *
 * @param adapt turns the example's configuration into the test's
 */
export async function startHaproxyWithAddresses(t: Test, adapt: (configuration: string) => string) {
  await debianImage()
  const examples = join(import.meta.dirname, '../../examples/haproxy')
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost' })
  const folder = t.testdir({
    'haproxy.cfg': adapt(readFileSync(join(examples, 'haproxy.cfg'), 'utf8')),
    tls: { 'server.pem': certificate + privateKey }
  })
  const haproxy = await startContainer(t, [
    ...MANY_ADDRESSES,
    ...['haproxy.cfg', 'tls'].map((name) => `--volume=${folder}/${name}:/etc/haproxy/${name}:ro`),
    `--volume=${examples}/errors:/etc/haproxy/errors:ro`,
    '--env=API_UPSTREAM=127.0.0.1:1',
    ...['relay-tracker-test-packages', 'haproxy', '-f', '/etc/haproxy/haproxy.cfg']
  ])
  await haproxy.run(OWN_ADDRESSES.join(' && '))
  return haproxy
}

async function startContainer(t: Test, args: string[]) {
  const id = await docker('run', '--detach', '--publish=127.0.0.1::443', ...args)
  t.teardown(() => docker('rm', '--force', '--volumes', id))
  /** Runs a script in the container; what it printed. */
  const run = (script: string) => docker('exec', id, 'sh', '-c', script)
  await eventually(() => succeeds(run('curl --silent --insecure https://127.0.0.1/')), Boolean)
  const port = Number((await docker('port', id, '443/tcp')).match(/:(\d+)$/m)?.[1])
  return { id, run, port, relay: client(`https://127.0.0.1:${port}/api/relay`) }
}

/** Opens a connection from each of these addresses, which have none yet, until the container stops. */
export async function holdFrom({ id, run }: EdgeContainer, addresses: string[]) {
  const clients = addresses.map((address) => `openssl s_client -connect [${SERVER}]:443 -bind [${address}]:0`)
  const script = clients.map((client) => `{ sleep 600 | ${client} > /dev/null 2>&1 & }`).join('; ')
  await docker('exec', '--detach', id, 'sh', '-c', `${script}; wait`)
  const held = async () => {
    const sources = await run("ss --no-header --tcp state established 'dport = 443'")
    return addresses.every((address) => sources.includes(`[${address}]`))
  }
  await eventually(held, Boolean)
}

/**
 * Calls the edge once from each of these addresses, on new connections: the statuses, which are 503 where the edge looked for its API, and
 * 000 where it did not accept the connection.
 */
export async function callFrom(
  { run }: Pick<EdgeContainer, 'run'>,
  addresses: string[],
  { to = `[${SERVER}]`, path = '/api/relay/broadcast/list' } = {}
) {
  const calls = addresses.map((address) =>
    [
      ...['globoff', 'silent', 'insecure', 'http1.1', 'connect-timeout = 2'],
      ...['header = "Connection: close"', 'output = /dev/null', 'write-out = "%{http_code} "']
    ]
      // curl takes no zone there.
      .concat(address.includes('%') ? [] : `interface = "host!${address}"`, `url = "https://${to}${path}"`)
      .join('\n')
  )
  return (await run(`curl --config - <<'END' || true\n${calls.join('\nnext\n')}\nEND`)).split(' ')
}
