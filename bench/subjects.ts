import { execFile } from 'node:child_process'
import https from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { NO_EDGE_LIMITS } from '../test/support/limits.ts'
import type { Protocol } from './protocols.ts'

/** As the superuser, stopping at the first error. */
const PSQL_OPTIONS = ['-U', 'postgres', '-d', 'relay', '-q', '-v', 'ON_ERROR_STOP=1']
/** Seconds within which a started subject has to answer. */
const START = 60

const execute = promisify(execFile)

/** What is measured: something that answers at an address in a protocol. */
export type Subject = Awaited<ReturnType<typeof startSubject>>

/** How long it is there. */
interface Scope {
  /** Aborts when nothing more is to be started. */
  signal: AbortSignal
  teardown: (end: () => Promise<unknown>) => void
}

/** By service, the ids of the containers whose work is measured. */
type Containers = { nginx: string; api?: string; postgres?: string; cleanup?: string }
const MEASURED = ['nginx', 'api', 'postgres', 'cleanup']
/** It begins when it is asked to. */
const NO_CLEANUP = { CLEANUP_SCHEDULE: '0 0 29 2 *' }

/**
 * Starts docker-compose.yml under a name of its own: all of it, or only nginx with something else in the API's place. It is idle while others are
 * measured.
 *
 * @param inPlaceOfApi a Compose file that changes the service `api`
 */
export async function startSubject(
  { signal, teardown }: Scope,
  name: string,
  protocol: Protocol,
  inPlaceOfApi?: string
) {
  const files = ['docker-compose.yml', ...(inPlaceOfApi ? [inPlaceOfApi] : [])].flatMap((file) => ['--file', file])
  const project = `relay-tracker-bench-${process.pid}-${name}`
  const run = async (args: string[], input = '') => {
    const { PATH, HOME } = process.env
    // A port that is free.
    const env = { PATH, HOME, LISTEN: '127.0.0.1:', ...NO_EDGE_LIMITS, ...NO_CLEANUP }
    const running = execute('docker', args, { env, signal, maxBuffer: 2 ** 26 })
    running.child.stdin?.end(input)
    return (await running).stdout.trim()
  }
  const compose = (...args: string[]) => run(['compose', '--project-name', project, ...files, ...args])
  teardown(() => execute('docker', ['compose', '--project-name', project, ...files, 'down', '--volumes']))

  if (!inPlaceOfApi) await compose('build')
  await compose('up', '--detach', ...(inPlaceOfApi ? ['--no-deps', 'api', 'nginx'] : []))
  const label = (key: string) => `com.docker.compose.${key}`
  const list = await run([
    ...['ps', '--no-trunc', '--filter', `label=${label('project')}=${project}`],
    ...['--format', `{{.Label "${label('service')}"}} {{.ID}}`]
  ])
  const ids = list.split('\n').map((line) => line.split(' ') as [string, string])
  const containers = Object.fromEntries(ids.filter(([service]) => MEASURED.includes(service))) as Containers
  const address = await addressOf(containers.nginx)
  await ready(address)

  return {
    name,
    protocol,
    ...address,
    containers,
    exec: (service: keyof Containers, ...command: string[]) => run(['exec', String(containers[service]), ...command]),
    /** Runs SQL statements, each in a transaction of its own. */
    sql: (statements: string) => run(['exec', '-i', String(containers.postgres), 'psql', ...PSQL_OPTIONS], statements),
    async restartApi() {
      await compose('restart', 'api')
      await ready(address)
    }
  }

  async function addressOf(nginx: string) {
    // Not through a published port: Docker's proxy costs as much as nginx. This works only on Linux.
    if (process.platform === 'linux') {
      const format = `{{(index .NetworkSettings.Networks "${project}_default").IPAddress}}`
      return { host: await run(['inspect', '--format', format, nginx]), port: 443 }
    }
    const [host, port] = (await compose('port', 'nginx', '443')).split(':') as [string, string]
    return { host, port: Number(port) }
  }
}

/** Resolves when the API, or what is in its place, answers through nginx. */
async function ready({ host, port }: { host: string; port: number }) {
  const end = Date.now() + START * 1000
  for (;;) {
    const status = await statusOf(`https://${host}:${port}/api/relay/`).catch((error) => String(error))
    if (Number(status) < 500) return
    if (Date.now() > end) throw new Error(`still not ready after ${START} s: ${status}`)
    await pause(200)
  }
}

function statusOf(url: string) {
  return new Promise<number>((resolve, reject) => {
    const options = { agent: false, rejectUnauthorized: false, timeout: 3000 }
    const request = https.get(url, options, (response) => resolve(response.resume().statusCode as number))
    request.on('error', reject).on('timeout', () => request.destroy(new Error('no answer')))
  })
}
