import type { Load } from './load.ts'
import {
  CLEANUP_NAMES,
  changeOperation,
  cleanupOperations,
  dailyOperations,
  knownListOperation,
  listName,
  listOperation,
  type Operation,
  registerOperation,
  SIZE_NAMES,
  sizeOperations
} from './operations.ts'
import { createPeers, type Peer } from './peers.ts'
import { announceAll, expireAll, fill, fillerEmail, registerAll, settle } from './population.ts'
import type { Result } from './rounds.ts'
import type { Subject } from './subjects.ts'

/** What can be measured, and how. */
export interface Bench {
  load: Load
  peers: Peer[]
  relay: Subject
  ceiling: Subject
  edge: Subject
  /** Where it is installed. */
  stdiscosrv: Subject | undefined
  /** Another relay, for more peers. */
  startLarge: () => Promise<Subject>
  isWanted: (name: string) => boolean
  /** The operations of a round that were asked for. */
  measure: (operations: (round: number) => Promise<Operation[]>) => Promise<Result[]>
}

const LISTS = [100, 1000, 10_000, 100_000]
/** Registered and online. */
const MANY_PEERS = 1_000_000
/** How many of them are looked up. */
const LOOKUPS = 10_000
/** Registrations in each round: a certificate takes longer to make than to register. */
const REGISTRATIONS = 1000

/** What peers do all day, with everyone registered and online, compared with all other subjects. */
export async function measureDaily({ load, peers, relay, ceiling, edge, stdiscosrv, measure }: Bench) {
  const services = stdiscosrv ? [relay, stdiscosrv] : [relay]
  await registerAll(load, relay, peers)
  for (const subject of services) await announceAll(load, subject, peers)
  await settle(relay)
  const everyone = [...services, ceiling, edge]
  await measure(async () => [...dailyOperations(everyone, peers), changeOperation([relay, ceiling])])
}

/**
 * The list while more and more peers are online; how long a request takes among very many peers and among few; and how long one takes while
 * all of them are cleaned up.
 */
export async function measureWithManyPeers({ load, peers, relay, ceiling, startLarge, isWanted, measure }: Bench) {
  const isSizeWanted = SIZE_NAMES.some(isWanted)
  const lists = LISTS.filter((count) => isWanted(listName(count)))
  const isCleanupWanted = CLEANUP_NAMES.some(isWanted)
  if (!isSizeWanted && !isCleanupWanted && lists.length === 0) return
  const large = await startLarge()
  await registerAll(load, large, peers)

  let online = 0
  for (const count of lists) {
    await fill(large, online, count)
    online = count
    await measure(async () => [listOperation(large, ceiling, count), knownListOperation(large, count)])
  }

  if (!isSizeWanted && !isCleanupWanted) return
  const others = MANY_PEERS - peers.length
  await fill(large, online, others)
  await announceAll(load, large, peers)
  await settle(large)
  const sizes = [
    { subject: relay, emails: peers.map(({ email }) => email) },
    { subject: large, emails: Array.from({ length: LOOKUPS }, () => fillerEmail(Math.floor(Math.random() * others))) }
  ]
  await measure(async () => sizeOperations(sizes))

  if (!isCleanupWanted) return
  await measure(async () => {
    await expireAll(large, peers)
    return cleanupOperations(large)
  })
}

/** Every round needs new peers. */
export async function measureRegistrations({ relay, ceiling, isWanted, measure }: Bench) {
  if (!isWanted('register')) return
  await measure(async (round) => [
    registerOperation([relay, ceiling], await createPeers(`new-${round}`, REGISTRATIONS))
  ])
}
