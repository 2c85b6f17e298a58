import t from 'tap'
import { TrackerError } from '../../peer/src/errors.ts'
import { Suspension } from '../../peer/src/presence/suspension.ts'
import { watchPeers } from '../../peer/src/presence/watcher.ts'
import type { EventLine } from '../../peer/src/tracker/event-source.ts'
import { addPeers } from '../support/many-peers.ts'
import { startTracker } from './helper.ts'

const UNREACHABLE = new TrackerError('away', { status: 0, code: 'tracker_unreachable' })

function peer(name: string, port = 1) {
  return { email: `${name}@example.com`, port, last_seen: String(Math.random()), expires_at: String(Math.random()) }
}

/** An event, each of these lines of data in its own. */
function event(name: string, ...lines: unknown[]): EventLine[] {
  const data = lines.map((line) => ({
    type: 'data' as const,
    name,
    line: typeof line === 'string' ? line : JSON.stringify(line)
  }))
  return [...data, { type: 'end', name }]
}

/** What a watcher tells of these connections, and then of a failure that lasts. */
async function told(connections: (EventLine[] | Error)[], only?: Set<string>) {
  const signal = new AbortController().signal
  const ready: EventLine[] = [{ type: 'retry', delay: 1 }, { type: 'open' }]
  async function* events() {
    const lines = connections.shift() ?? new TrackerError('over', { status: 401, code: 'certificate_revoked' })
    if (lines instanceof Error) throw lines
    yield* [...ready, ...lines]
  }
  const changes: unknown[] = []
  try {
    for await (const change of watchPeers({ events, only, suspension: new Suspension(), signal })) {
      if (change.type === 'list') changes.push(change.peers.map(({ email }) => email).join())
      else if (change.type === 'online') changes.push(`+${change.peer.email}:${change.peer.port}`)
      else if (change.type === 'offline') changes.push(`-${change.email}`)
      else changes.push(change.type)
    }
  } catch (error) {
    changes.push((error as TrackerError).code)
  }
  return changes
}

t.test('a watcher is told each change once, whatever interruptions there are', async (t) => {
  const changes = await told([
    [
      ...event('list', '[', peer('bob'), `,${JSON.stringify(peer('alice'))}`, ']'),
      ...event('online', peer('bob')),
      ...event('online', peer('bob', 2)),
      ...event('weather', '{}'),
      ...event('online', peer('carol')),
      ...event('offline', peer('nobody')),
      ...event('offline', peer('alice'))
    ],
    UNREACHABLE,
    new TrackerError('who?', { status: 401, code: 'certificate_unknown' }),
    [...event('list', [peer('dora'), peer('bob', 2)]), ...event('list', [peer('bob', 3)])],
    event('list', '[', peer('erik')).slice(0, 2),
    event('list', [])
  ])
  t.same(changes, [
    ...[
      'connected',
      'alice@example.com,bob@example.com',
      '+bob@example.com:2',
      '+carol@example.com:1',
      '-alice@example.com'
    ],
    ...['disconnected', 'connected', '+dora@example.com:1', '-carol@example.com'],
    ...['+bob@example.com:3', '-dora@example.com', 'disconnected'],
    ...['connected', '+erik@example.com:1', 'disconnected'],
    ...['connected', '-bob@example.com', '-erik@example.com', 'disconnected'],
    'certificate_revoked'
  ])
})

t.test('a watcher starts without a tracker, and its list is whole', async (t) => {
  const half = event('list', '[', peer('alice')).slice(0, 2)
  t.same(await told([UNREACHABLE, half, event('list', [peer('bob')])]), [
    ...['disconnected', 'connected', 'disconnected', 'connected', 'bob@example.com', 'disconnected'],
    'certificate_revoked'
  ])
})

t.test('a watcher of some peers is told of no others', async (t) => {
  const only = new Set(['bob@example.com'])
  const changes = await told(
    [[...event('list', [peer('alice'), peer('bob')]), ...event('online', peer('carol'))]],
    only
  )
  t.same(changes, ['connected', 'bob@example.com', 'disconnected', 'certificate_revoked'])
})

t.test('a list of 30,000 peers, more than 16 MiB, is read while it arrives', async (t) => {
  const tracker = await startTracker(t)
  const alice = await tracker.open('alice')
  await alice.register()
  await addPeers(tracker.sql, 30_000)
  await tracker.sql`update broadcasts set capabilities = json_build_object('about', repeat('x', 500))`
  const watch = alice.watch({ only: ['PEER-7@example.com', 'peer-29999@example.com', 'nobody@example.com'] })
  t.match(await watch.next(), { value: { type: 'connected' } })
  const { value } = await watch.next()
  t.match(value, { type: 'list', peers: { length: 2 } })
  await watch.return()

  const everyone = alice.watch()
  await everyone.next()
  t.match(await everyone.next(), { value: { type: 'list', peers: { length: 30_000 } } })
  await everyone.return()
})
