import type { Job } from './load.ts'
import type { Peer } from './peers.ts'
import { type Call, type Protocol, relay, toRequest } from './protocols.ts'
import type { Subject } from './subjects.ts'

/** Requests in flight at once: enough to keep two cores busy, and half of the 64 that nginx passes to an API. */
const CONCURRENCY = 32
/** Few enough to show how long a request takes, not how long it waits for others. */
const MODERATE = 8
/** Kept-alive connections, used in turn, each by another peer. */
const CONNECTIONS = 128
/** A lone peer. */
const ONE_AT_A_TIME = { connections: 1, concurrency: 1 }

/** What is measured, of one subject after the other. */
export interface Operation {
  name: string
  cells: { subject: Subject; job: Job }[]
  /** Begins with the measurement, and has to succeed, though perhaps later. */
  meanwhile?: () => Promise<unknown>
  /** Whether memory is watched all the time, at a small cost. */
  wantsPeak?: boolean
}

type Ways = Partial<Pick<Job, 'connections' | 'concurrency' | 'once'>>

/** These calls, by default on kept-alive connections. */
export function jobOf({ host, port }: Subject, calls: Call[], ways: Ways = {}): Job {
  const { connections = CONNECTIONS, concurrency = CONCURRENCY, once = false } = ways
  const requests = calls.map((call) => toRequest(call, connections > 0))
  return { host, port, requests, status: (calls[0] as Call).status, connections, concurrency, once }
}

/** An operation of several subjects, each of which is asked in its own protocol. */
function operation(name: string, subjects: Subject[], calls: (protocol: Protocol) => Call[], ways?: Ways): Operation {
  return { name, cells: subjects.map((subject) => ({ subject, job: jobOf(subject, calls(subject.protocol), ways) })) }
}

const renewal = (protocol: Protocol) => [protocol.announce()]
const ofEach = (peers: Peer[]) => (protocol: Protocol) => peers.map((peer) => protocol.lookup(peer))

/** What peers do all day, for every subject. */
export function dailyOperations(subjects: Subject[], peers: Peer[]): Operation[] {
  return [
    operation('announce, new connection', subjects, renewal, { connections: 0 }),
    operation('lookup, new connection', subjects, ofEach(peers), { connections: 0 }),
    operation('announce', subjects, renewal),
    operation('lookup', subjects, ofEach(peers)),
    operation('lookup, one at a time', subjects, ofEach(peers), ONE_AT_A_TIME)
  ]
}

/** An announcement that differs from the peer's last one, so that watchers are told. */
export function changeOperation(subjects: Subject[]): Operation {
  const ports = Array.from({ length: 1000 }, (_, n) => 10_000 + n)
  return operation('announce, changed', subjects, ({ announce }) => ports.map((port) => announce(port)))
}

/** How long announce and lookup take with few peers and with many, under some load. */
export const SIZE_NAMES = ['announce among many', 'lookup among many'] as const

export function sizeOperations(subjects: { subject: Subject; emails: string[] }[]): Operation[] {
  const [announce, lookup] = SIZE_NAMES
  const ways = { concurrency: MODERATE }
  return [
    {
      name: announce,
      cells: subjects.map(({ subject }) => ({ subject, job: jobOf(subject, [relay.announce()], ways) }))
    },
    {
      name: lookup,
      cells: subjects.map(({ subject, emails }) => {
        const calls = emails.map((email) => relay.lookup({ email }))
        return { subject, job: jobOf(subject, calls, ways) }
      })
    }
  ]
}

/** How long an announcement takes when nothing else happens, and while all other peers, expired, are deleted. */
export const CLEANUP_NAMES = ['announce before a cleanup', 'announce during a cleanup'] as const

export function cleanupOperations(subject: Subject): Operation[] {
  const [before, during] = CLEANUP_NAMES
  const cells = [{ subject, job: jobOf(subject, [relay.announce()], { concurrency: MODERATE }) }]
  const meanwhile = async () => {
    const start = performance.now()
    const log = await subject.exec('cleanup', 'node', 'src/processes/cleanup.ts', '--once')
    console.error(`${log} in ${Math.round(performance.now() - start)} ms`)
  }
  return [
    { name: before, cells },
    { name: during, cells, meanwhile, wantsPeak: true }
  ]
}

/** Of so many peers who are online. */
export const listName = (count: number) => `list of ${count}`

/** The whole list, and an answer of the same length from the ceiling. */
export function listOperation(subject: Subject, ceiling: Subject, count: number): Operation {
  const call = relay.list()
  const constant = { ...call, path: `${call.path}?peers=${count}` }
  return {
    name: listName(count),
    cells: [
      { subject, job: jobOf(subject, [call], ONE_AT_A_TIME) },
      { subject: ceiling, job: jobOf(ceiling, [constant], ONE_AT_A_TIME) }
    ],
    wantsPeak: true
  }
}

/** The list for a peer that has it already. */
export function knownListOperation(subject: Subject, count: number): Operation {
  const cells = [{ subject, job: jobOf(subject, [relay.knownList()], ONE_AT_A_TIME) }]
  return { name: `${listName(count)}, known`, cells, wantsPeak: true }
}

/** Registrations of new peers, each once. */
export function registerOperation(subjects: Subject[], peers: Peer[]): Operation {
  return {
    name: 'register',
    cells: subjects.map((subject) => ({ subject, job: jobOf(subject, peers.map(relay.register), { once: true }) }))
  }
}
