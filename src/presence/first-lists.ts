import { setImmediate as breathe, setTimeout as pause } from 'node:timers/promises'
import { formatEvent, inChunks } from '../http/event-stream.ts'
import type { Broadcast } from './broadcasts.repository.ts'
import { type List, sizeOfNext } from './list.repository.ts'

/** Pages that are kept in all, for those who are still being sent them. */
const MAX_PAGES = 32
/** Milliseconds after which a page that could not be read is asked for again. */
const RETRY = 1000
/** Broadcasts of the first page that is ever read. */
const FIRST_SIZE = 100
/** Readers that are sent something before other work has its turn. */
const AT_ONCE = 8

/** Who is sent a list. */
export interface Reader {
  clientId: string
  write: (bytes: Buffer) => void
  /** Whether the reader has to read before more is written; `drained` is called then. */
  isFull: () => boolean
  /** The list is there whole. */
  complete: () => void
}

/** How far a reader is. */
interface Place {
  reader: Reader
  /** The number of the first page that it may have: none from before it came. */
  since: number
  /** The client after which its list began, and at which it ends once it has come round; undefined until that is known. */
  start?: string
  hasComeRound: boolean
  /** The last client that it has passed; none at the beginning. */
  after: string
  hasBegun: boolean
  page?: Page | undefined
}

interface Page {
  number: number
  after: string
  next: string | null
  chunks: Chunk[]
}

interface Chunk {
  bytes: Buffer
  first: string
  last: string
  entries: { clientId: string; bytes: Buffer }[]
}

const HEAD = Buffer.from('event: list\ndata: [\ndata: ')
const SEPARATOR = 'data: ,'
const TAIL = Buffer.from('data: ]\n\n')
const EMPTY = formatEvent('list', '[]')

/**
 * Sends readers the event `list`, everyone online but themselves. Pages are read in the order of clients, round and round, and only where
 * somebody waits; a newcomer begins where that is at the moment. So all who read fast enough share one read and the same bytes of each page,
 * and a slow reader keeps nobody waiting: it goes on when its place comes by again. What is kept is a limited number of pages, and what each
 * reader's stream holds.
 *
 * @param onError is told of a page that could not be had
 */
export function createFirstLists(everyone: List['everyone'], onError: (error: unknown) => void) {
  const places = new Map<Reader, Place>()
  /** Who waits for a page that is still to be read. */
  const waiting = new Set<Place>()
  /** Who is sent something next, one after the other. */
  const ready = new Set<Place>()
  let isServing = false
  let served = 0
  let recent: Page[] = []
  let number = 0
  let position = ''
  let size = FIRST_SIZE
  let isReading = false

  async function read() {
    isReading = true
    await breathe() // for all who come at the same moment
    while (waiting.size > 0) {
      const after = nextPosition()
      for (const place of waiting) if (place.start === undefined) place.start = place.after = after
      number++
      const found = await everyone(after || undefined, size).catch((error) => void onError(error))
      if (found) deal({ number, after, next: found.next, chunks: format(found.broadcasts) })
      else await pause(RETRY)
    }
    isReading = false
  }

  /** Where somebody waits: at or after the end of the last page, or else from the beginning on. */
  function nextPosition() {
    const wanted = [...waiting].flatMap(({ start, after }) => (start === undefined ? [] : [after])).sort()
    return wanted.find((after) => after >= position) ?? wanted[0] ?? position
  }

  function deal(page: Page) {
    const lengths = page.chunks.map(({ bytes }) => bytes.length)
    size = sizeOfNext(
      page.chunks.flatMap(({ entries }) => entries).length,
      lengths.reduce((a, b) => a + b, 0)
    )
    position = page.next ?? ''
    recent.push(page)
    if (recent.length > MAX_PAGES) forget(recent.shift() as Page)
    for (const place of [...waiting].filter((place) => has(page, place))) {
      waiting.delete(place)
      place.page = page
      ready.add(place)
    }
    serve()
  }

  /** A stream that is read at once is ready again at once, before anything else has its turn: so all of them share the same turns. */
  async function serve() {
    if (isServing) return
    isServing = true
    for (const place of ready) {
      if (served++ % AT_ONCE === AT_ONCE - 1) await breathe()
      if (ready.delete(place)) send(place) // or it left meanwhile
    }
    isServing = false
  }

  /** Whoever is still being sent it goes on with another one. */
  function forget(page: Page) {
    for (const place of places.values()) if (place.page === page) place.page = undefined
  }

  /** Sends as much as the reader takes at the moment. */
  function send(place: Place) {
    while (!place.reader.isFull()) {
      place.page ??= recent.findLast((page) => has(page, place))
      if (!place.page) {
        waiting.add(place)
        if (!isReading) read()
        return
      }
      const chunk = place.page.chunks.find(({ last }) => last > place.after)
      if (chunk) {
        write(place, chunk)
        place.after = chunk.last
      } else turn(place, place.page)
      if (place.hasComeRound && place.after >= (place.start as string)) return finish(place)
    }
  }

  /** At the end of a page. */
  function turn(place: Place, { next }: Page) {
    place.page = undefined
    place.after = next ?? ''
    place.hasComeRound ||= next === null
  }

  function write(place: Place, chunk: Chunk) {
    const { reader, hasBegun } = place
    const part = partFor(place, chunk)
    if (part.length === 0) return
    if (!hasBegun) reader.write(HEAD)
    reader.write(hasBegun ? part : part.subarray(SEPARATOR.length))
    place.hasBegun = true
  }

  function finish({ reader, hasBegun }: Place) {
    remove(reader)
    reader.write(hasBegun ? TAIL : EMPTY)
    reader.complete()
  }

  function remove(reader: Reader) {
    const place = places.get(reader)
    if (!place) return
    waiting.delete(place)
    ready.delete(place)
    places.delete(reader)
    if (places.size > 0) return
    recent = []
    position = ''
  }

  return {
    add(reader: Reader) {
      const place = { reader, since: number + 1, hasComeRound: false, after: '', hasBegun: false }
      places.set(reader, place)
      send(place)
    },
    /** The reader has read what was written. */
    drained(reader: Reader) {
      const place = places.get(reader)
      if (!place || waiting.has(place)) return
      ready.add(place)
      serve()
    },
    /** Whether it waits for its list, or for more of it. */
    has: (reader: Reader) => places.has(reader),
    /** Whether something of its list was sent. */
    hasBegun: (reader: Reader) => places.get(reader)?.hasBegun ?? false,
    remove
  }
}

/** Whether this reader's list goes on with that page. */
function has({ number, after, next }: Page, place: Place) {
  return (
    number >= place.since && place.start !== undefined && after <= place.after && (next === null || place.after < next)
  )
}

/** The part of a chunk that is for a reader: almost always all of it, in the bytes that all readers share. */
function partFor(
  { reader: { clientId }, start, after, hasComeRound }: Place,
  { bytes, first, last, entries }: Chunk
): Buffer {
  const end = hasComeRound ? (start as string) : last
  if (first > after && last <= end && (clientId < first || clientId > last)) return bytes
  const wanted = entries.filter(
    (entry) => entry.clientId > after && entry.clientId <= end && entry.clientId !== clientId
  )
  return Buffer.concat(wanted.map((entry) => entry.bytes))
}

function format(broadcasts: Broadcast[]): Chunk[] {
  const entries = broadcasts.map(({ clientId, json }) => {
    const bytes = Buffer.from(`${SEPARATOR}${json}\n`)
    return { clientId, bytes, length: bytes.length }
  })
  return inChunks(entries).map((entries) => {
    const bytes = Buffer.concat(entries.map((entry) => entry.bytes))
    let start = 0
    const views = entries.map(({ clientId, length }) => {
      start += length
      return { clientId, bytes: bytes.subarray(start - length, start) }
    })
    return { bytes, first: views[0]?.clientId, last: views.at(-1)?.clientId, entries: views } as Chunk
  })
}
