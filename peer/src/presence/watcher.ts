import { createHash } from 'node:crypto'
import { isCertificateUnknown, TrackerError } from '../errors.ts'
import { backoff, pause } from '../tracker/backoff.ts'
import type { EventLine } from '../tracker/event-source.ts'
import type { Broadcast } from '../tracker/tracker.ts'
import type { Suspension } from './suspension.ts'

/** What `watch` reports. Each change is reported once, even if there are interruptions. */
export type Change =
  /** From now on, the tracker reports what happens. */
  | { type: 'connected' }
  /**
   * The tracker is away, cannot be trusted, or does not know this peer yet. It is tried again until it answers; what it reported before may
   * be out of date.
   */
  | { type: 'disconnected'; reason: Error; nextAttempt: Date }
  /** Everyone online but this peer, ordered by e-mail address; only once. */
  | { type: 'list'; peers: Broadcast[] }
  /** A peer has gone online, or has announced something else. */
  | { type: 'online'; peer: Broadcast }
  /** A peer has gone offline. */
  | { type: 'offline'; email: string }

/**
 * Follows who is online, until the signal.
 *
 * @param options.events opens the tracker's stream
 * @param options.only the e-mail addresses, in lower case, of the peers to tell about; undefined for all
 * @param options.suspension closes the stream as long as it lasts
 * @throws a failure that will last, such as `certificate_revoked`
 */
export async function* watchPeers(options: {
  events: (signal: AbortSignal) => AsyncIterable<EventLine>
  only?: Set<string> | undefined
  suspension: Suspension
  signal: AbortSignal
}): AsyncGenerator<Change, void> {
  const { events, suspension, signal } = options
  const differences = createDifferences(options.only)
  let isConnected: boolean | undefined
  let failures = 0
  let retry: number | undefined
  while (!signal.aborted) {
    let reason: Error = new TrackerError('the tracker has ended the stream', { status: 0, code: 'tracker_unreachable' })
    await suspension.over(signal)
    const pausing = suspension.signal
    try {
      for await (const event of events(AbortSignal.any([signal, pausing]))) {
        if (signal.aborted) return
        if (event.type === 'retry') retry = event.delay
        if (event.type === 'open') {
          isConnected = true
          yield { type: 'connected' }
        }
        // A stream that was only opened may be that of a tracker that cannot serve.
        if (event.type === 'end') failures = 0
        yield* differences(event)
      }
    } catch (error) {
      if (!mayPass(error) && !pausing.aborted && !signal.aborted) throw error
      reason = error as Error
    }
    if (signal.aborted) return
    const delay = failures++ === 0 && retry !== undefined ? retry : backoff(failures, reason)
    if (isConnected !== false) yield { type: 'disconnected', reason, nextAttempt: new Date(Date.now() + delay) }
    isConnected = false
    await pause(delay, AbortSignal.any([signal, pausing]))
  }
}

function mayPass(error: unknown) {
  const { code, isTemporary } = error as TrackerError
  // An announcement registers a peer that the tracker does not know.
  return isTemporary || code === 'tracker_untrusted' || isCertificateUnknown(error)
}

/** What is new in the tracker's events, compared with everything that was told before. */
function createDifferences(only: Set<string> | undefined) {
  /** What is known of whoever is online, by e-mail address. */
  const told = new Map<string, string>()
  let isFirst = true
  let listed = new Map<string, Broadcast | undefined>()
  let data = ''

  const isWanted = ({ email }: { email: string }) => only === undefined || only.has(email)

  function isNews(peer: Broadcast): boolean {
    const digest = digestOf(peer)
    if (told.get(peer.email) === digest) return false
    told.set(peer.email, digest)
    return true
  }

  function* list(): Generator<Change, void> {
    for (const email of [...told.keys()]) {
      if (!listed.has(email) && told.delete(email)) yield { type: 'offline', email }
    }
    if (!isFirst) return
    isFirst = false
    const peers = [...listed.values()].filter((peer) => peer !== undefined)
    yield { type: 'list', peers: byEmail(peers) }
  }

  /** A line of the list: peers between the punctuation of an array. Only the first list is kept. */
  function* listLine(line: string): Generator<Change, void> {
    for (const peer of JSON.parse(`[${line.replace(/^[[,]+|\]$/g, '')}]`).filter(isWanted) as Broadcast[]) {
      const isNew = isNews(peer)
      listed.set(peer.email, isFirst ? peer : undefined)
      if (isNew && !isFirst) yield { type: 'online', peer }
    }
  }

  return function* differences(event: EventLine): Generator<Change, void> {
    if (event.type === 'open') {
      listed = new Map()
      data = ''
      if (isFirst) told.clear() // half of a list was not told
    } else if (event.type === 'data' && event.name === 'list') {
      yield* listLine(event.line)
    } else if (event.type === 'data') {
      data += event.line
    } else if (event.type === 'end') {
      if (event.name === 'list') yield* list()
      if (event.name === 'online') {
        const peer: Broadcast = JSON.parse(data)
        if (isWanted(peer) && isNews(peer)) yield { type: 'online', peer }
      }
      if (event.name === 'offline') {
        const { email } = JSON.parse(data)
        if (told.delete(email)) yield { type: 'offline', email }
      }
      listed = new Map()
      data = '' // also of events of a newer tracker
    }
  }
}

/** Of everything but the times, which change with each announcement. */
function digestOf({ last_seen, expires_at, ...peer }: Broadcast): string {
  return createHash('sha256').update(JSON.stringify(peer)).digest('base64')
}

/** Sorts peers by e-mail address. */
export function byEmail(peers: Broadcast[]): Broadcast[] {
  return peers.sort((a, b) => (a.email < b.email ? -1 : 1))
}
