import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { toTable } from '../support/figures.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { lostIn, startLoad } from '../support/load.ts'
import { follow } from '../support/process.ts'
import { type Stack, startStack } from '../support/stack.ts'

const FILE = 'examples/high-availability/docker-compose.yml'
const NODES = ['postgres1', 'postgres2', 'postgres3']
const EDGES = ['127.0.0.1', '127.0.0.2']

/** Milliseconds of load before each fault and after it, and until service has to be back for good. */
const BEFORE = 3000
const AFTER = 15_000
const MAX_RECOVERY = 10_000
/** Milliseconds that both take longer when the primary cannot release the lock, which then expires. Patroni accepts no shorter `ttl`. */
const LOCK_TTL = 20_000
/** Milliseconds within which an error has to come. */
const MAX_ERROR = 3000
/** Seconds within which a lost node has to be a standby again. */
const REPAIR = 120

interface Member {
  name: string
  role: string
  state: string
  timeline: number
  lag?: number
}

interface Node {
  name: string
  id: string
}

const rows: Record<string, string | number>[] = []

t.test('the high-availability example survives failures under load', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, { ...NO_EDGE_LIMITS, COMPOSE_FILE: FILE })
  const cluster = await openCluster(t, stack)
  await cluster.isWhole()

  const kill = async (primary: Node) => {
    await stack.docker('kill', primary.id)
    return () => stack.docker('start', primary.id)
  }
  await underLoad(t, stack, cluster, 'primary: SIGKILL of the node', kill, { lock: LOCK_TTL })

  const cut = async (primary: Node) => {
    const networks = ['cluster', 'database'].map((name) => `${stack.project}_${name}`)
    await Promise.all(networks.map((network) => stack.docker('network', 'disconnect', network, primary.id)))
    return async (t: Test) => {
      const isStandby = (await cluster.psql(primary.id, 'select pg_is_in_recovery()').catch(() => 'down')).trim()
      t.not(isStandby, 'f', `cut off, it is no primary any more: ${isStandby}`)
      for (const network of networks) {
        await stack.docker('network', 'connect', '--alias', primary.name, network, primary.id)
      }
    }
  }
  await underLoad(t, stack, cluster, 'primary: network cut', cut, { lock: LOCK_TTL })

  const freeze = async (primary: Node) => {
    await stack.docker('pause', primary.id)
    return () => stack.docker('unpause', primary.id)
  }
  await underLoad(t, stack, cluster, 'primary: frozen', freeze, { lock: LOCK_TTL })

  await underLoad(t, stack, cluster, 'PostgreSQL of the primary: SIGKILL', async (primary) => {
    await stack.docker('exec', primary.id, 'sh', '-c', 'kill -9 $(head -1 /var/lib/postgresql/data/18/postmaster.pid)')
    return async () => {}
  })

  await underLoad(t, stack, cluster, 'switchover', async (primary) => {
    const [heir] = (await cluster.members()).filter(({ role }) => role === 'sync_standby') as [Member]
    const options = ['--leader', primary.name, '--candidate', heir.name, '--force']
    await stack.docker('exec', primary.id, 'patronictl', 'switchover', ...options)
    return async () => {}
  })

  const [edge] = (await stack.containerIds('nginx1')) as [string]
  await underLoad(
    t,
    stack,
    cluster,
    'edge: SIGKILL',
    async () => {
      await stack.docker('kill', edge)
      return () => stack.docker('start', edge)
    },
    { isEdge: true }
  )
})

t.teardown(() => console.log(toTable(rows)))

type Cluster = Awaited<ReturnType<typeof openCluster>>

/** The database's nodes as Patroni sees them, and who holds the leader's lock in etcd. */
async function openCluster(t: Test, stack: Stack) {
  const ids = new Map<string, string>()
  for (const name of NODES) ids.set(name, (await stack.containerIds(name))[0] as string)
  const [etcd] = (await stack.containerIds('etcd1')) as [string]

  const psql = (id: string, sql: string) =>
    stack.docker('exec', id, 'psql', '-U', 'postgres', '-d', 'relay', '--csv', '--tuples-only', '-c', sql)

  async function members(): Promise<Member[]> {
    for (const id of ids.values()) {
      const answer = await stack.docker('exec', id, 'curl', '-s', 'http://127.0.0.1:8008/cluster').catch(() => '{}')
      const { members = [] } = JSON.parse(answer || '{}')
      if (members.length > 0) return members
    }
    return []
  }

  async function primary(): Promise<Node> {
    const leader = await eventually(
      async () => (await members()).find(({ role, state }) => role === 'leader' && state === 'running'),
      (leader) => leader !== undefined
    )
    const { name } = leader as Member
    return { name, id: ids.get(name) as string }
  }

  /** Who got or lost the lock, and when. */
  const changes: { at: number; holder: string | undefined }[] = []
  const watch = follow(
    spawn('docker', ['exec', etcd, 'etcdctl', 'watch', '--write-out', 'json', '/service/relay/leader'])
  )
  createInterface(watch.child.stdout).on('line', (line) => {
    const at = Date.now()
    for (const { kv } of JSON.parse(line).Events) {
      // A deleted key has no value.
      changes.push({ at, holder: kv.value && Buffer.from(kv.value, 'base64').toString() })
    }
  })
  t.teardown(async () => {
    watch.child.kill()
    await watch.ended
  })

  return {
    psql,
    members,
    primary,
    changes,
    /** Resolves when two standbys follow a primary, one of them synchronously. */
    isWhole: () =>
      eventually(
        members,
        (members) =>
          members
            .map(({ role }) => role)
            .sort()
            .join() === 'leader,replica,sync_standby' &&
          new Set(members.map(({ timeline }) => timeline)).size === 1 &&
          members.every(({ lag = 0 }) => lag === 0),
        REPAIR
      ),
    /** The rows of one query to the primary. */
    async query(sql: string) {
      const output = await psql((await primary()).id, sql)
      return output
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split(','))
    }
  }
}

/**
 * Inflicts one fault, with calls before, during and after it, and checks what has to hold.
 *
 * @param inflict returns the repair
 * @param options.lock milliseconds until the leader's lock has expired
 */
async function underLoad(
  t: Test,
  stack: Stack,
  cluster: Cluster,
  name: string,
  inflict: (primary: Node) => Promise<(t: Test) => Promise<unknown>>,
  { isEdge = false, lock = 0 } = {}
) {
  await t.test(name, async (t) => {
    const primary = await cluster.primary()
    const load = await startLoad(stack.origin, { addresses: EDGES })
    t.teardown(load.stop)
    await pause(BEFORE)
    cluster.changes.length = 0
    const start = Date.now()
    const mend = await inflict(primary)
    await pause(start + lock + AFTER - Date.now())
    await load.stop()
    const stopped = Date.now()
    await mend(t)

    const after = load.outcomes.filter(({ end }) => end >= start)
    const errors = after.filter(({ status }) => status !== 200)
    const unanswered = errors.filter(({ status }) => status === 0)
    const unavailable = errors.filter(({ status, retryAfter }) => status === 503 && Number(retryAfter) > 0)
    const others = errors.filter((error) => !unanswered.includes(error) && !unavailable.includes(error))
    const early = load.outcomes.filter(({ end, status }) => end < start && status !== 200)
    const firstError = errors[0]?.end ?? Number.NaN
    const lastError = errors.at(-1)?.end ?? start
    const successes = load.outcomes.filter(({ status }) => status === 200).map(({ end }) => end)
    const before = successes.filter((end) => end < start)
    const [gapStart, gapEnd] = longestGap([before.at(-1) ?? start, ...successes.filter((end) => end >= start), stopped])
    const lost = await lostIn(cluster, load)
    const isLost = cluster.changes.find(({ holder }) => holder !== primary.name)?.at
    const taken = cluster.changes.find(({ holder }) => holder && holder !== primary.name)
    const since = (time: number | undefined) =>
      time === undefined || Number.isNaN(time) ? '' : ((time - start) / 1000).toFixed(2)
    rows.push({
      fault: name,
      calls: after.length,
      'answered 503': unavailable.length,
      'no answer': unanswered.length,
      'last 200 before': since(gapStart),
      'first error': since(firstError),
      'lock lost': since(isLost),
      'new leader': since(taken?.at),
      'first 200 again': since(gapEnd),
      'last error': errors.length > 0 ? since(lastError) : '',
      lost: lost.length
    })
    t.same(early, [], 'nothing failed before')
    t.same(lost, [], 'every 200 that a caller got is in the database')
    t.same(others, [], 'every error is a 503 with Retry-After')
    if (!isEdge) {
      t.same(unanswered, [], 'every call is answered')
      t.ok(taken, 'another node is the primary')
    }
    const slowest = Math.max(0, ...errors.map(({ start, end }) => end - start))
    t.ok(slowest <= MAX_ERROR, `the slowest error took ${slowest} ms`)
    t.ok(lastError - start <= lock + MAX_RECOVERY, `the last error came ${lastError - start} ms after the fault`)
    t.ok(gapEnd - start <= lock + MAX_RECOVERY, `calls were answered ${gapEnd - start} ms after the fault`)
    await cluster.isWhole()
  })
}

/** The two moments, one after the other, that lie farthest apart. */
function longestGap(times: number[]): [number, number] {
  let gap: [number, number] = [0, 0]
  times.reduce((before, time) => {
    if (time - before > gap[1] - gap[0]) gap = [before, time]
    return time
  })
  return gap
}
