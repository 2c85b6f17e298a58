import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Sql } from '../../src/postgres/postgres-driver.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { toTable } from '../support/figures.ts'
import { type LimitedApi, startLimitedApi } from '../support/limited-api.ts'
import { addPeers } from '../support/many-peers.ts'
import { registerPeer } from '../support/peers.ts'
import { openReader, type Reader } from '../support/readers.ts'

/**
 * `npm run test:memory`: how much memory an API with the limit of docker-compose.yml uses, by what its callers do. nginx would change nothing.
 * `IMAGE` names the image of another version.
 */
const { IMAGE, CURVES = 'peers,readers,watchers' } = process.env
const numbers = (setting: string | undefined, byDefault: string) => (setting ?? byDefault).split(',').map(Number)
const PEERS = numbers(process.env.PEERS, '10000,50000,100000,250000,450000,1000000')
const READERS = numbers(process.env.READERS, '0,8,16,32')
const WATCHERS = numbers(process.env.WATCHERS, '1,1000,5000,10000')
/** For the two curves of those. */
const [MANY, LARGE] = [Number(process.env.MANY || 1_000_000), Number(process.env.LARGE || 8400)]
/** Seconds. */
const PATIENCE = Number(process.env.PATIENCE || 600)
const MiB = 2 ** 20

const curve = (name: string, draw: (t: Test) => Promise<void>) =>
  t.test(name, { skip: !CURVES.split(',').includes(name) && 'not asked for' }, draw)

curve('peers', async (t) => {
  const { database, sql, peer } = await prepare(t)
  let count = 0
  const rows: object[] = []
  for (const online of PEERS) {
    await fill(sql, count, online)
    count = online
    const api = await startLimitedApi(t, database, IMAGE)
    rows.push({ 'peers online': online, ...(await measure(api, [openReader(api.origin, '/broadcast/events', peer)])) })
    console.log(toTable(rows as Record<string, string>[]))
  }
})

curve('readers', async (t) => {
  const { database, sql, peer } = await prepare(t)
  await addPeers(sql, LARGE, { padding: 4000, mark: '€' })
  await sql`vacuum analyze`
  const rows: object[] = []
  for (const count of READERS) {
    const api = await startLimitedApi(t, database, IMAGE)
    const readers = Array.from({ length: count }, () => openReader(api.origin, '/broadcast/list', peer, 65_536))
    rows.push({ 'slow readers': count, ...(await measure(api, readers, 30)) })
    console.log(toTable(rows as Record<string, string>[]))
  }
})

curve('watchers', async (t) => {
  const { database, sql, peer } = await prepare(t)
  await fill(sql, 0, MANY)
  const rows: object[] = []
  for (const count of WATCHERS) {
    const api = await startLimitedApi(t, database, IMAGE)
    const readers: Reader[] = []
    for (let n = 0; n < count; n++) {
      readers.push(openReader(api.origin, '/broadcast/events', peer))
      if (n % 100 === 99) await pause(100)
    }
    rows.push({ watchers: count, 'peers online': MANY, ...(await measure(api, readers)) })
    console.log(toTable(rows as Record<string, string>[]))
  }
})

/** Adds ordinary peers without the triggers, so that nobody is notified. */
async function fill(sql: Sql, from: number, to: number) {
  await sql.begin(async (transaction) => {
    await transaction`set local session_replication_role = replica`
    await addPeers(transaction as unknown as Sql, to - from, { from: from + 1 })
  })
  await sql`vacuum analyze`
}

/** A database, and a peer that is registered in it. */
async function prepare(t: Test) {
  const { url: database, sql } = await createDatabase(t)
  const { relay, fastify } = await startApi(t, { database })
  const peer = await registerPeer(relay, 'reader')
  await fastify.close()
  return { database, sql, peer }
}

/** Resolves when all have their list, when so many seconds have passed, or when the API dies. */
async function measure(api: LimitedApi, readers: Reader[], seconds = PATIENCE) {
  const began = Date.now()
  let most = { resident: 0, heap: 0, external: 0, peak: 0 }
  const isDone = () => readers.length > 0 && readers.every(({ hasList }) => hasList)
  let isAlive = true
  while (!isDone() && Date.now() < began + seconds * 1000) {
    const now = await api.memory().catch(() => undefined)
    if (now)
      for (const [name, bytes] of Object.entries(now))
        most = { ...most, [name]: Math.max(most[name as keyof typeof most], bytes) }
    else if (!(await api.state()).Running) {
      isAlive = false
      break
    }
    await pause(200)
  }
  const lists = readers.filter(({ hasList }) => hasList).length
  const took = (Date.now() - began) / 1000
  const bytes = readers.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const reader of readers) reader.close()
  const size = (bytes: number) => (bytes / MiB).toFixed(0)
  return {
    'resident, at most (MiB)': size(Math.max(most.peak, most.resident)),
    'heap (MiB)': size(most.heap),
    'external (MiB)': size(most.external),
    lists,
    cut: readers.filter(({ isClosed }) => isClosed).length,
    seconds: took.toFixed(1),
    'MiB/s': (bytes / MiB / took).toFixed(0),
    '': isAlive ? '' : 'died'
  }
}
