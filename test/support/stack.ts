import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { freePort } from '../../src/runtime/listen-port.ts'
import { client } from './api.ts'
import { eventually, untilIncludes } from './eventually.ts'

/** The database's superuser, whom the tests log in as. */
const SUPERUSER = 'postgres'

/** Evaluates EXPRESSION in the image's process, which is the first that Docker's init started. */
const DEBUG = `
  import { readFileSync, readdirSync } from 'node:fs'
  const pids = readdirSync('/proc').map(Number).filter((pid) => pid > 1 && pid !== process.pid)
  process.kill(Math.min(...pids), 'SIGUSR1')
  let targets
  while (!targets) targets = await fetch('http://127.0.0.1:9229/json').then((response) => response.json(), () => {})
  const socket = new WebSocket(targets[0].webSocketDebuggerUrl)
  socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: EXPRESSION } }))
  socket.onmessage = socket.onclose = socket.onerror = () => process.exit()`

export type Stack = Awaited<ReturnType<typeof startStack>>

/**
 * Builds and starts all of docker-compose.yml, or of the file that the setting COMPOSE_FILE names, under a name and on a port of the test's
 * own. A second edge has the same port at 127.0.0.2.
 */
export async function startStack(t: Test, settings: Record<string, string> = {}) {
  const port = await freePort('127.0.0.1')
  const origin = `https://localhost:${port}`
  const project = `relay-tracker-test-${port}`
  const run = async (program: string, args: string[]) => {
    const { PATH, HOME } = process.env
    const listen = `127.0.0.1:${port}`
    const env = { PATH, HOME, LISTEN: listen, LISTEN_1: listen, LISTEN_2: `127.0.0.2:${port}`, ...settings }
    return (await promisify(execFile)(program, args, { env, maxBuffer: 2 ** 26 })).stdout
  }
  const docker = (...args: string[]) => run('docker', args)
  /** Runs what the documents tell an operator to type. */
  const shell = (script: string, cwd: string) => {
    const { PATH, HOME } = process.env
    const own = { COMPOSE_PROJECT_NAME: project, COMPOSE_FILE: join(import.meta.dirname, '../../docker-compose.yml') }
    const env = { PATH, HOME, LISTEN: `127.0.0.1:${port}`, ...own, ...settings }
    return promisify(execFile)('bash', ['-e', '-o', 'pipefail', '-c', script], { cwd, env })
  }
  const compose = (...args: string[]) => docker('compose', '--project-name', project, ...args)
  /** All containers, or those of one service, even when they have exited. */
  const containerIds = async (...service: string[]) =>
    (await compose('ps', '--all', '--quiet', ...service)).trim().split('\n')
  /** Everything that a container has printed. */
  const logs = (id: string) => run('sh', ['-c', 'docker logs "$0" 2>&1', id])
  // biome-ignore lint/suspicious/noExplicitAny: what docker inspect prints
  const inspect = async (...ids: string[]): Promise<any[]> => JSON.parse(await docker('inspect', ...ids))
  /** Starts what is missing, and resolves when all are healthy. */
  const up = (...options: string[]) => compose('up', '--detach', '--wait', ...options)
  t.teardown(() => compose('down', '--volumes'))

  await compose('build')
  await up()

  return {
    origin,
    project,
    relay: client(`${origin}/api/relay`),
    docker,
    shell,
    compose,
    containerIds,
    inspect,
    up,
    /** The rows of one query, each an array of texts. */
    async query(sql: string) {
      const [id] = (await containerIds('postgres')) as [string]
      const command = ['psql', '-U', SUPERUSER, '-d', 'relay', '--csv', '--tuples-only', '-c', sql]
      const output = await docker('exec', id, ...command)
      return output
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split(','))
    },
    /** Bytes of memory that a container's processes use, without the kernel's file cache. */
    async memory(id: string) {
      const command = 'cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat'
      const statistics = await docker('exec', id, 'sh', '-c', command)
      return Number(statistics.match(/^(?:anon|rss) (\d+)$/m)?.[1])
    },
    /** How many files and sockets a container's processes have open. */
    async openFiles(id: string) {
      return Number(await docker('exec', id, 'sh', '-c', 'ls -d /proc/[0-9]*/fd/* 2>/dev/null | wc -l'))
    },
    /** How many TCP connections a container has open, in all or at one port of its own. */
    async connections(id: string, port?: number) {
      const table = await docker('exec', id, 'sh', '-c', 'cat /proc/net/tcp /proc/net/tcp6')
      const local = port === undefined ? '' : port.toString(16).toUpperCase().padStart(4, '0')
      return table.split('\n').filter((line) => line.match(/:(\w{4}) \w+:\w{4} 01 /)?.[1]?.endsWith(local)).length
    },
    logs,
    /**
     * Runs an expression in a container's Node.js process, through the debugger that SIGUSR1 starts. Resolves when the expression has a value
     * or the process has ended, even if that makes `docker exec` fail.
     */
    async evaluate(id: string, expression: string) {
      const code = DEBUG.replace('EXPRESSION', () => JSON.stringify(expression))
      await docker('exec', id, 'node', '--input-type=module', '--eval', code).catch(() => {})
    },
    /** When a container's API last began to listen, in milliseconds of Unix time; 0 if never. */
    async listeningSince(id: string) {
      const [line] = (await logs(id))
        .split('\n')
        .filter((line) => line.includes('Server listening'))
        .slice(-1)
      return line ? (JSON.parse(line).time as number) : 0
    },
    /** Resolves when every container of a service is healthy. */
    async healthy(service: string) {
      const ids = await containerIds(service)
      await eventually(
        () => inspect(...ids),
        (states) => states.every(({ State }) => State.Health.Status === 'healthy')
      )
    },
    /** Resolves when nginx has first followed the API's name to another address. */
    async nginxHasReloaded() {
      const [id] = (await containerIds('nginx')) as [string]
      await untilIncludes(() => logs(id), 'reconfiguring')
    },
    /**
     * Signals all of a container's processes, the first one first, as the kernel would. After `docker kill` Docker would not restart the
     * container, and a namespace's first process ignores signals from within.
     */
    async signal(id: string, signal: 'KILL' | 'STOP' | 'CONT') {
      const processes = (await docker('top', id, '-eo', 'pid')).match(/\d+/g) as string[]
      const options = ['--rm', '--pid', 'host', '--network', 'none', '--user', 'root', '--entrypoint', 'sh']
      const command = `kill -${signal} ${processes.join(' ')} 2>/dev/null; true`
      await docker('run', ...options, 'nginx:stable', '-c', command)
    }
  }
}
