import { setTimeout as pause } from 'node:timers/promises'
import { formatEvent } from '../http/event-stream.ts'
import { type Broadcast, type Broadcasts, sizeOfNext } from '../repository/broadcasts.ts'

/** Pages that wait for their readers at once, altogether. */
const MAX_PAGES = 64
/** Milliseconds. */
const PATIENCE = 10_000
/** Milliseconds after which a page that could not be read is asked for again. */
const RETRY = 1000
/** Broadcasts of the first page that is ever read. */
const FIRST_SIZE = 100

/** Who is sent a list. */
export interface Reader {
  email: string
  write: (bytes: Buffer) => void
  /** Whether the reader has to read before more is written; `drained` is called then. */
  isFull: () => boolean
  /** The list is there whole. */
  complete: () => void
  /** It never will be. */
  cutOff: () => void
}

interface Place {
  reader: Reader
  hasBegun: boolean
  /** Whether it was removed. */
  isGone: boolean
  /** Gives its place in a page free, when it has read that. */
  drained?: (() => void) | undefined
}

const HEAD = Buffer.from('event: list\ndata: [\ndata: ')
const SEPARATOR = 'data: ,'
const TAIL = Buffer.from('data: ]\n\n')
const EMPTY = formatEvent('list', '[]')

/**
 * Sends readers the event `list`, everyone online but themselves, page by page. Those who wait for the same page get the same bytes, so
 * that ten thousand who come back at once cost little more than one; and each gets its next page when it has read the one before.
 *
 * @param onError is told of a page that could not be had
 * @param patience milliseconds in which a page has to be read, or its reader is cut off
 */
export function createFirstLists(
  everyone: Broadcasts['everyone'],
  onError: (error: unknown) => void,
  patience = PATIENCE
) {
  const places = new Map<Reader, Place>()
  /** Who waits for the page after that client, or, after none, for the first one; in the order in which they are to be had. */
  const queue = new Map<string, Set<Place>>()
  let size = FIRST_SIZE
  let pages = 0
  let isReading = false
  let freed = () => {}

  function enqueue(place: Place, after: string) {
    const waiting = queue.get(after) ?? new Set()
    queue.set(after, waiting.add(place))
    if (!isReading) read()
  }

  async function read() {
    isReading = true
    for (const [after] of queue) {
      if (pages === MAX_PAGES) await new Promise<void>((resolve) => (freed = resolve))
      const page = await everyone(after || undefined, size).catch((error) => void onError(error))
      // Those who came meanwhile too.
      const waiting = queue.get(after) as Set<Place>
      queue.delete(after)
      if (page) {
        deal(page, waiting)
        continue
      }
      await pause(RETRY)
      for (const place of waiting) {
        if (place.hasBegun) place.reader.cutOff()
        else if (!place.isGone) enqueue(place, after)
      }
    }
    isReading = false
  }

  function deal({ broadcasts, next }: { broadcasts: Broadcast[]; next: string | null }, waiting: Set<Place>) {
    const { length, partsFor } = formatPage(broadcasts)
    size = sizeOfNext(broadcasts.length, length)
    let readers = 0
    const release = () => {
      if (--readers > 0) return
      pages--
      freed()
    }
    for (const place of waiting) {
      if (place.isGone) continue
      send(place, partsFor(place.reader.email))
      const goOn = () => (next === null ? finish(place) : enqueue(place, next))
      if (!place.reader.isFull()) {
        goOn()
        continue
      }
      if (readers++ === 0) pages++
      const timer = setTimeout(() => place.reader.cutOff(), patience)
      place.drained = () => {
        clearTimeout(timer)
        place.drained = undefined
        release()
        if (!place.isGone) goOn()
      }
    }
  }

  function send(place: Place, parts: Buffer[]) {
    const { reader } = place
    for (const part of parts) {
      reader.write(place.hasBegun ? part : Buffer.concat([HEAD, part.subarray(SEPARATOR.length)]))
      place.hasBegun = true
    }
  }

  function finish({ reader, hasBegun }: Place) {
    places.delete(reader)
    reader.write(hasBegun ? TAIL : EMPTY)
    reader.complete()
  }

  return {
    add(reader: Reader) {
      const place: Place = { reader, hasBegun: false, isGone: false }
      places.set(reader, place)
      enqueue(place, '')
    },
    /** The reader has read what was written. */
    drained(reader: Reader) {
      places.get(reader)?.drained?.()
    },
    /** Whether it waits for its list, or for more of it. */
    has: (reader: Reader) => places.has(reader),
    /** Whether something of its list was sent. */
    hasBegun: (reader: Reader) => places.get(reader)?.hasBegun ?? false,
    remove(reader: Reader) {
      const place = places.get(reader)
      if (!place) return
      place.isGone = true
      places.delete(reader)
      place.drained?.()
    }
  }
}

/** A page for each reader, without itself, of bytes that all of them share. */
function formatPage(broadcasts: Broadcast[]) {
  const places = new Map<string, [number, number]>()
  let length = 0
  const entries = broadcasts.map(({ email, json }) => {
    const entry = Buffer.from(`${SEPARATOR}${json}\n`)
    places.set(email, [length, length + entry.length])
    length += entry.length
    return entry
  })
  const all = Buffer.concat(entries)
  const partsFor = (email: string): Buffer[] => {
    const [start, end] = places.get(email) ?? [length, length]
    return [all.subarray(0, start), all.subarray(end)].filter((part) => part.length > 0)
  }
  return { length, partsFor }
}
