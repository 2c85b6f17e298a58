import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { registerPeer } from '../support/peers.ts'
import { startStack } from '../support/stack.ts'
import { LENGTH, underLoad } from './under-load.ts'

/** Megabytes of PostgreSQL's disk, of which a new database takes half. */
const DISK = 192
/** The smallest queue of notifications that PostgreSQL can have, in pages of 8 KB. */
const QUEUE = 64

t.test('the service recovers from a full disk of PostgreSQL', { skip: skipWithoutContainers }, async (t) => {
  const override = join(t.testdir({}), 'docker-compose.json')
  const disk = { driver_opts: { type: 'tmpfs', device: 'tmpfs', o: `size=${DISK}m` } }
  const command = [
    'postgres',
    '-c',
    `max_notify_queue_pages=${QUEUE}`,
    '-c',
    'min_wal_size=32MB',
    '-c',
    'max_wal_size=64MB'
  ]
  writeFileSync(override, JSON.stringify({ services: { postgres: { command } }, volumes: { postgres: disk } }))
  const stack = await startStack(t, { ...NO_EDGE_LIMITS, COMPOSE_FILE: `docker-compose.yml:${override}` })
  const { relay, query, docker } = stack
  const [postgres] = (await stack.containerIds('postgres')) as [string]
  const alice = await registerPeer(relay, 'alice')
  const bob = await registerPeer(relay, 'bob')
  t.match(await relay.ready(alice), { status: 200 })
  const isFound = async () => (await relay.lookup(bob, alice.email)).status

  // A tmpfs lives as long as somebody mounts it, and PostgreSQL's container may exit.
  const keeper = (
    await docker('run', '--detach', '--volume', `${stack.project}_postgres:/disk`, 'nginx:stable', 'sleep', '3600')
  ).trim()
  t.teardown(() => docker('rm', '--force', keeper))
  const inDisk = (script: string) => docker('exec', keeper, 'sh', '-c', script)

  await underLoad(t, stack, 'PostgreSQL: disk full', async () => {
    const start = Date.now()
    await inDisk('cat /dev/zero > /disk/filler 2>/dev/null; sync')
    // This uses up the log files that were made in advance.
    while (Date.now() < start + LENGTH)
      await query("select pg_logical_emit_message(true, '', ''), pg_switch_wal()").catch(() => {})
    t.match(await stack.logs(postgres), 'No space left on device')
    await inDisk('rm /disk/filler')
    return { start, end: Date.now() }
  })

  await underLoad(t, stack, 'PostgreSQL: queue of notifications full', async () => {
    const psql = spawn('docker', ['exec', '--interactive', postgres, 'psql', '--username', 'postgres', 'relay'])
    psql.stdin.write(`listen broadcasts; set idle_in_transaction_session_timeout = ${2 * LENGTH}; begin;\n`)
    await eventually(
      () => query("select pid from pg_stat_activity where state = 'idle in transaction' and query ~ 'begin'"),
      (rows) => rows.length === 1
    )
    const start = Date.now()
    const fill = "do $$ begin for n in 1..50 loop perform pg_notify('other', n || repeat('x', 7000)); end loop; end $$"
    for (let full = false; !full; )
      full = await query(fill).then(
        () => false,
        () => true
      )
    t.equal(await isFound(), 200, 'who is online is found meanwhile')
    await eventually(
      () => query("select pid from pg_stat_activity where state = 'idle in transaction' and query ~ 'begin'"),
      (rows) => rows.length === 0
    )
    psql.kill()
    return { start, end: Date.now() }
  })
})
