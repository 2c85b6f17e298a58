import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { docker, logsOf } from '../support/docker.ts'
import { eventually, untilIncludes } from '../support/eventually.ts'
import { registerPeer } from '../support/peers.ts'
import { startStandalone } from '../support/standalone.ts'

const READY = 'Relay Tracker is ready'
/** Seconds for a first start, which makes a database. */
const PATIENCE = 120
const PROJECT = join(import.meta.dirname, '../..')

t.test('a service that was killed at any step of its first start starts again', async (t) => {
  const dir = t.testdir({})
  const dataDir = join(dir, '.data')
  const files = (folder: string) => (existsSync(join(dataDir, folder)) ? readdirSync(join(dataDir, folder)) : [])
  const steps: Record<string, () => boolean> = {
    lock: () => files('.').includes('lock'),
    'key of the authority': () => files('.').includes('ca.key'),
    'certificate of the server': () => files('.').includes('server.crt'),
    password: () => files('postgres').includes('password'),
    initdb: () => files('postgres').some((name) => name.startsWith('data') && files(`postgres/${name}`).length > 5),
    database: () => files('postgres').includes('data'),
    'start of PostgreSQL': () => files('postgres/data').includes('postmaster.pid'),
    migrations: () => files('.').includes('database-url')
  }
  for (const [step, isReached] of Object.entries(steps)) {
    const killed = await startStandalone(t, dir)
    while (!isReached() && killed.child.exitCode === null) await setTimeout(1)
    killed.child.kill('SIGKILL')
    t.match(await killed.ended, { signal: 'SIGKILL' }, step)
  }
  const next = await startStandalone(t, dir)
  await next.printed(READY)
  const alice = await registerPeer(next.relay, 'alice')
  next.child.kill('SIGKILL')
  await next.ended
  const last = await startStandalone(t, dir)
  await last.printed(READY)
  t.match(await last.relay.ready(alice), { status: 200 }, 'what was acknowledged is there')
  t.notOk(
    readdirSync(join(dataDir, 'postgres')).some((name) => name.startsWith('data.')),
    'what was left is removed'
  )
  await last.stop()
})

t.test('npm start runs in containers', { skip: skipWithoutContainers }, async (t) => {
  const program = ['node', '/app/src/processes/standalone.ts']
  const run = async (...args: string[]) => {
    const settings = ['--env', 'DATA_DIR=/data/relay', '--env', 'LOG_LEVEL=warn', '--volume', `${PROJECT}:/app:ro`]
    const id = await docker('run', '--detach', ...settings, ...args)
    t.teardown(() => docker('rm', '--force', '--volumes', id))
    return id
  }
  const untilReady = (id: string, starts: number) => {
    return eventually(
      () => logsOf(id),
      (output) => output.split(READY).length > starts,
      PATIENCE
    )
  }

  t.test('the second of two containers on one folder is told who has it, although both are process 1', async (t) => {
    const first = await run('--volume', '/data', '--hostname', 'first', 'node:24-bookworm-slim', ...program)
    await untilReady(first, 1)
    const second = await run('--volumes-from', first, 'node:24-bookworm-slim', ...program)
    t.equal(await docker('wait', second), '1')
    t.match(await logsOf(second), /^relay-tracker: DATA_DIR \/data\/relay is in use by process 1 on first, .*$/)

    await docker('kill', first)
    await docker('start', first)
    await untilReady(first, 2)
    await docker('stop', first)
    t.equal(await docker('wait', first), '0')
  })

  t.test('a full disk is reported in one line, and leaves nothing half-written', async (t) => {
    const id = await run('--tmpfs', '/data:size=100m', 'node:24-bookworm-slim', 'sleep', 'infinity')
    const sh = (command: string) => docker('exec', id, 'sh', '-c', command)
    // The error, if it does not start.
    const start = (kilobytes: number) =>
      sh(`rm -f /data/filler; truncate -s 0 /data/filler
        free=$(df -k --output=avail /data | tail -1)
        head -c $(( (free - ${kilobytes}) * 1024 )) /dev/zero > /data/filler
        timeout 60 node /app/src/processes/standalone.ts 2>&1 | head -1; ls -A /data/relay | grep new; true`)
    for (const kilobytes of [0, 4, 8, 12, 16, 20_000, 39_000]) {
      const line = /^relay-tracker: (cannot write|the embedded PostgreSQL failed: ).*: no space left on device$/i
      t.match(await start(kilobytes), line, `with ${kilobytes} KB`)
    }
    await sh('rm /data/filler')
    await docker('exec', '--detach', id, 'sh', '-c', 'node /app/src/processes/standalone.ts > /tmp/log 2>&1')
    await untilIncludes(() => sh('cat /tmp/log'), READY, PATIENCE)
  })
})
