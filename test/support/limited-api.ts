import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { client } from './api.ts'
import { docker, logsOf } from './docker.ts'
import { send, untilStatus } from './http-client.ts'
import { buildImage } from './image.ts'

const ROOT = join(import.meta.dirname, '../..')
const IMAGE = 'relay-tracker-test-api'
const MiB = 2 ** 20

/** How docker-compose.yml runs an API. */
const { mem_limit, sysctls }: { mem_limit: string; sysctls: Record<string, string> } = parse(
  readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'),
  { merge: true }
).services.api

/** Builds the project's image from this tree, and returns its name. */
export async function buildApiImage() {
  await buildImage(IMAGE, ROOT)
  return IMAGE
}

export type LimitedApi = Awaited<ReturnType<typeof startLimitedApi>>

/**
 * An API in a container, with the memory that docker-compose.yml grants it and no swap, with a database that this machine can reach. The
 * test plays the edge.
 *
 * @param image by default the project's, built from this tree
 */
export async function startLimitedApi(t: Test, database: string, image?: string) {
  const name = image ?? (await buildApiImage())
  const url = new URL(database)
  url.hostname = 'host.docker.internal'
  const env = { DATABASE_URL: url.href, HOST: '0.0.0.0', INTERNAL_HOST: '0.0.0.0', LOG_LEVEL: 'warn' }
  const id = await docker(
    ...['run', '--detach', '--init', '--add-host=host.docker.internal:host-gateway'],
    ...[`--memory=${mem_limit}`, `--memory-swap=${mem_limit}`],
    ...Object.entries(sysctls).map(([name, value]) => `--sysctl=${name}=${value}`),
    ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
    name
  )
  t.teardown(() => docker('rm', '--force', id))
  // Not through a published port: Docker's proxy has buffers of its own.
  const address = await docker('inspect', '--format={{.NetworkSettings.IPAddress}}', id)
  const [origin, internal] = [`http://${address}:3000`, `http://${address}:3003`]
  await untilStatus(200, () => send(`${internal}/readyz`).catch(() => undefined), 120)

  return {
    id,
    origin,
    relay: client(`${origin}/api/relay`),
    limit: Number.parseInt(mem_limit, 10) * MiB,
    /** What it has printed. */
    logs: () => logsOf(id),
    /** Whether it runs, and why not. */
    async state(): Promise<{ Running: boolean; OOMKilled: boolean; ExitCode: number }> {
      return JSON.parse(await docker('inspect', '--format={{json .State}}', id))
    },
    /** Bytes of memory, of V8's heap, and of buffers outside it; and the most memory that it ever had. */
    async memory() {
      const { body } = await send(`${internal}/metrics`)
      const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1])
      const peaks = await docker('exec', id, 'sh', '-c', 'grep -h VmHWM /proc/[0-9]*/status')
      return {
        resident: value('process_resident_memory_bytes'),
        heap: value('nodejs_heap_size_used_bytes'),
        external: value('nodejs_external_memory_bytes'),
        peak: Math.max(...[...peaks.matchAll(/(\d+) kB/g)].map(([, kB]) => Number(kB))) * 1024
      }
    }
  }
}
