import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { LIMITS } from './edge.ts'
import { client, eventually } from './helper.ts'
import { buildImage } from './image.ts'

/** An IPv6 address of nginx in its container. */
export const SERVER = 'fd00:1::1'
const OWN_ADDRESSES = [
  // Of fd00:1::/32, as of 127.0.0.0/8, every address is this machine.
  'ip -6 route add local fd00:1::/32 dev lo',
  `ip -6 addr add ${SERVER}/128 dev lo`,
  'ip -6 addr add fe80::1/64 dev lo',
  'ip -6 addr add fe80::2/64 dev lo'
]

interface Options {
  /** What differs from the limits of docker-compose.yml. */
  limits?: Record<string, string>
  /** host and port of an API, as containers reach it; by default there is none */
  upstream?: string
  /** More options of docker run. */
  options?: string[]
}

/** A real nginx with the project's own files and its stream module. Its container is its own caller, from as many addresses as it likes. */
export async function startNginxWithAddresses(t: Test, { options = [], ...rest }: Options = {}) {
  const anyAddress = ['net.ipv6.conf.all.disable_ipv6=0', 'net.ipv6.ip_nonlocal_bind=1']
  const nginx = await startNginxContainer(t, {
    ...rest,
    options: ['--cap-add=NET_ADMIN', ...anyAddress.map((sysctl) => `--sysctl=${sysctl}`), ...options]
  })
  await nginx.run(OWN_ADDRESSES.join(' && '))
  return nginx
}

/** A real nginx with the project's own files, in a container with those options. */
export async function startNginxContainer(t: Test, { limits = {}, upstream = '127.0.0.1:1', options = [] }: Options) {
  const docker = async (...args: string[]) =>
    (await promisify(execFile)('docker', args, { maxBuffer: 2 ** 26 })).stdout.trim()
  await buildImage('relay-tracker-test-nginx', 'test/nginx')
  const folder = join(import.meta.dirname, '../nginx')
  const settings = { API_UPSTREAM: upstream, ...LIMITS, ...limits, NGINX_ENVSUBST_FILTER: '^(API|EDGE)_' }
  const id = await docker(
    ...['run', '--detach', '--publish=127.0.0.1::443', '--tmpfs=/etc/nginx/tls', ...options],
    ...Object.entries(settings).map(([name, value]) => `--env=${name}=${value}`),
    ...['nginx.conf', 'relay', 'templates'].map((name) => `--volume=${folder}/${name}:/etc/nginx/${name}:ro`),
    ...['30-fit-machine.sh', '40-server-certificate.sh'].map(
      (name) => `--volume=${folder}/docker-entrypoint.d/${name}:/docker-entrypoint.d/${name}:ro`
    ),
    'relay-tracker-test-nginx'
  )
  t.teardown(() => docker('rm', '--force', '--volumes', id))
  /** What a script says in the container. */
  const run = (script: string) => docker('exec', id, 'sh', '-c', script)
  await eventually(
    () =>
      run('curl --silent --insecure https://127.0.0.1/').then(
        () => true,
        () => false
      ),
    Boolean
  )
  const port = Number((await docker('port', id, '443/tcp')).match(/:(\d+)$/m)?.[1])
  return { id, docker, run, port, relay: client(`https://127.0.0.1:${port}/api/relay`) }
}
