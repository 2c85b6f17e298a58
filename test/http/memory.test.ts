import { execFile } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { buildApiImage, startLimitedApi } from '../support/limited-api.ts'
import { addPeers } from '../support/many-peers.ts'
import { registerPeer } from '../support/peers.ts'
import { openReader, type Reader } from '../support/readers.ts'

/** So many that an API of 512 MB could not hold any two lists. */
const PEERS = 4000
/** Every broadcast is as large as allowed; to V8 it is twice that. */
const LARGEST = { padding: 4000, mark: '€' }
/** As many lists as nginx lets through, each read as slowly as allowed. */
const [LISTS, PAGES, TOLERATED] = [32, 24, 80_000]
/** Watchers that read; as many read slowly, and as many not at all. */
const [WATCHERS, SLOWLY] = [10, 20_000]
const LOOKUPS = 20

t.test(
  'an API with the memory limit of docker-compose.yml survives the worst load',
  { skip: skipWithoutContainers },
  async (t) => {
    const { url: database, sql } = await createDatabase(t)
    const [alice, bob] = await (async () => {
      const { relay, fastify } = await startApi(t, { database })
      const peers = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')] as const
      await relay.ready(peers[1])
      await fastify.close()
      return peers
    })()
    await addPeers(sql, PEERS, LARGEST)
    await sql`vacuum analyze`
    // Set this to another version's image to see it fail.
    const api = await startLimitedApi(t, database, process.env.IMAGE)

    const readers = new Set<Reader>()
    const open = (path: string, speed?: number) => {
      const reader = openReader(api.origin, path, alice, speed)
      readers.add(reader)
      return reader
    }
    let isRunning = true
    const end = () => {
      isRunning = false
      for (const reader of readers) reader.close()
    }
    t.teardown(end)
    /** A caller that comes back whenever it is disconnected or refused. */
    const persist = async (path: string, speed: number) => {
      while (isRunning) {
        const reader = open(path, speed)
        while (isRunning && !reader.isClosed) await pause(200)
        readers.delete(reader)
      }
    }

    const lists = Array.from({ length: LISTS }, () => persist('/broadcast/list', TOLERATED))
    const pages = Array.from({ length: PAGES }, () => persist('/broadcast/list?limit=1000', TOLERATED))
    const hung = Array.from({ length: WATCHERS }, () => persist('/broadcast/events', 0))
    const slow = Array.from({ length: WATCHERS }, () => persist('/broadcast/events', SLOWLY))
    const quick = Array.from({ length: WATCHERS }, () => open('/broadcast/events'))
    const changing = (async () => {
      for (let n = 0; isRunning; n = (n + 25) % PEERS) {
        await sql`update broadcasts set port = 1 + port % 50000
        where client_id in (select id from clients order by id offset ${n} limit 25)`
        await pause(200)
      }
    })()

    let peak = 0
    const look = async () => {
      const { Running, OOMKilled } = await api.state()
      if (!Running) t.comment(await api.logs())
      t.match({ Running, OOMKilled }, { Running: true, OOMKilled: false })
      const { peak: now, ...memory } = await api.memory()
      peak = Math.max(peak, now)
      return { ...memory, peak }
    }
    let answered = 0
    while (answered < LOOKUPS) {
      await look()
      const { status } = await api.relay.lookup(alice, bob.email)
      if (status === 200) answered++
      else t.equal(status, 503)
      await pause(200)
    }
    await eventually(
      async () => quick.filter(({ hasList }) => hasList).length,
      (count) => count === WATCHERS,
      240
    )
    t.comment(JSON.stringify(await look()))
    t.ok(peak < 0.8 * api.limit, `${peak} bytes of ${api.limit}`)
    end()
    await Promise.all([...lists, ...pages, ...hung, ...slow, changing])
  }
)

t.test(
  'a process that runs out of memory ends, even as process 1, as in Kubernetes',
  { skip: skipWithoutContainers },
  async (t) => {
    const name = await buildApiImage()
    const script = `
    import Fastify from 'fastify'
    import { serve } from './src/runtime/lifecycle.ts'
    await serve(Fastify(), '127.0.0.1', 0)
    for (const all = []; ; ) all.push(new Array(1000).fill(all.length))`
    const node = ['node', '--max-old-space-size=50', '--input-type=module', '--eval', script]
    const docker = promisify(execFile)('docker', ['run', '--rm', name, ...node], { timeout: 120_000 })
    // 128 plus a signal of its own, not one that Docker sent after a timeout.
    const { code, stderr } = await docker.catch((error) => error)
    t.match(stderr, 'JavaScript heap out of memory')
    t.match(String(code), /^(132|133|134|139)$/, 'SIGILL, SIGTRAP, SIGABRT or SIGSEGV')
  }
)
