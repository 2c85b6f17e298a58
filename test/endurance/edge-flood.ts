import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { decodePem } from '../../src/identity/certificate.ts'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { docker } from '../support/docker.ts'
import { hostOfContainers } from '../support/edge.ts'
import { type EdgeContainer, startNginxContainer } from '../support/edge-container.ts'
import { eventually } from '../support/eventually.ts'
import { toTable } from '../support/figures.ts'
import { send, untilStatus } from '../support/http-client.ts'
import { follow } from '../support/process.ts'

/** nginx's resources in docker-compose.yml. */
const MEMORY = 2 ** 30
const CONNECTIONS = 10_000
/** Bytes of certificates that OpenSSL accepts. */
const MAX_CHAIN = 100 * 1024

const rows: Record<string, string | number>[] = []

t.test('nginx stays within its memory whatever 10,000 connections hold', { skip: skipWithoutContainers }, async (t) => {
  const folder = await makeCertificates(t)
  const { host, name } = await hostOfContainers()
  const api = await startApi(t, { host })
  const upstream = `${name}:${api.port}`

  await t.test('handshakes that never end do not exhaust it', (t) => flood(t, 'hello', { folder, upstream }))
  await t.test('large headers and endless bodies do not exhaust it', (t) => flood(t, 'body', { folder, upstream }))
  await t.test('more endless certificates than fit its memory do not exhaust it', (t) =>
    flood(t, 'chain', { folder, upstream, count: 3000, isTooMuch: true })
  )
})

t.teardown(() => console.log(toTable(rows)))

interface Flood {
  folder: string
  upstream: string
  count?: number
  /** Whether it uses up the memory, so that others may not be served until it is over. */
  isTooMuch?: boolean
}

/** Floods a new nginx, and watches its memory and what another caller gets. */
async function flood(t: Test, kind: string, { folder, upstream, count = CONNECTIONS, isTooMuch = false }: Flood) {
  const nginx = await startNginxContainer(t, { upstream, options: [`--memory=${MEMORY}`, `--memory-swap=${MEMORY}`] })
  const before = await workers(nginx)
  const flooder = follow(
    spawn('docker', [
      ...[
        'run',
        '--rm',
        '--init',
        `--network=container:${nginx.id}`,
        '--ulimit=nofile=20000',
        `--volume=${folder}:/certificates:ro`
      ],
      ...[`--volume=${join(import.meta.dirname, 'flood.ts')}:/flood.ts:ro`, 'node:24-bookworm-slim'],
      ...['node', '--max-old-space-size=4096', '/flood.ts', kind, String(count), '/certificates']
    ])
  )
  let open: number | undefined
  flooder.child.stdout.on('data', (lines) => {
    open = Number(String(lines).trim().split('\n').at(-1))
  })
  t.teardown(async () => {
    flooder.child.kill()
    await flooder.ended
  })
  await eventually(
    async () => open,
    (open) => open !== undefined,
    600
  )
  let served = 0
  for (let n = 0; n < 10; n++) {
    // From an address without a share in the flood.
    const reply = await send(`https://127.0.0.1:${nginx.port}/api/relay/broadcast/list`).catch(() => undefined)
    if (reply?.status === 401) served++
    await pause(200)
  }
  const peak = await peakMemory(nginx)
  rows.push({
    kind,
    connections: count,
    open: open as number,
    'peak (MiB)': Math.round(peak / 2 ** 20),
    served: `${served} of 10`
  })
  t.ok(peak < MEMORY, `${peak} bytes of ${MEMORY}`)
  if (!isTooMuch) t.equal(served, 10, 'another caller is served')
  flooder.child.kill()
  await flooder.ended
  await untilStatus(401, () => nginx.relay.list(undefined).catch(() => undefined))
  t.same(await workers(nginx), before, 'no worker has ended')
}

async function workers({ id }: EdgeContainer) {
  const processes = await docker('top', id, '-eo', 'pid,cmd')
  return processes.match(/\d+(?= +nginx: worker process)/g)
}

async function peakMemory({ run }: EdgeContainer) {
  return Number(
    await run('cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null || true')
  )
}

async function makeCertificates(t: Test) {
  const client = await createSelfSigned({ commonName: 'client' })
  const { certificate } = await createSelfSigned({ commonName: 'a' })
  const folder = t.testdir({
    'client.crt': client.certificate,
    'client.key': client.privateKey,
    'chain.crt': certificate.repeat(Math.floor(MAX_CHAIN / ((decodePem(certificate) as Buffer).length + 5)) - 4)
  })
  return folder
}
