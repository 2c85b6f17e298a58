import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { formatEvent, inChunks } from '../http/event-stream.ts'
import type { Broadcast } from './broadcasts.repository.ts'
import { type List, sizeOfNext } from './list.repository.ts'

/** Pages kept, for all readers together. */
const MAX_PAGES = 32
/** Milliseconds before a page that could not be read is tried again. */
const RETRY = 1000
/** Broadcasts on the very first page. */
const FIRST_SIZE = 100
/** Readers served before other work gets a turn. */
const TURN = 8

/** Receives a list. */
export interface Reader {
  clientId: string
  write: (bytes: Buffer) => void
  /** Whether to stop writing until `drained` is called. */
  isFull: () => boolean
  /** Called after the last part of the list. */
  complete: () => void
}

/** A reader's progress. */
interface Place {
  reader: Reader
  /** The first page that it may get: one that was read after it came. */
  since: number
  /** The client after which its list begins, and with which it ends once it has wrapped; undefined until its first page is read. */
  start?: string
  hasWrapped: boolean
  /** The last client sent; empty at the beginning of the order. */
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
 * Sends readers the event `list`: everyone online except themselves. While any reader waits, pages are read in the order of client ids,
 * round and round, and a new reader starts at the current position. Readers that keep up share each page's query and bytes. A slow one
 * delays nobody: it continues when its place comes round again. So memory is bounded.
 *
 * @param onError called when a page could not be read
 */
export function createFirstLists(everyone: List['everyone'], onError: (error: unknown) => void) {
  const places = new Map<Reader, Place>()
  /** Waiting for a page to be read. */
  const waiting = new Set<Place>()
  /** To be served, in this order. */
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
    await nextTurn() // for all who come at the same moment
    while (waiting.size > 0) {
      const after = nextPosition()
      for (const place of waiting) if (place.start === undefined) place.start = place.after = after
      number++
      const found = await everyone(after || undefined, size).catch((error) => void onError(error))
      if (found) addPage({ number, after, next: found.next, chunks: format(found.broadcasts) })
      else await pause(RETRY)
    }
    isReading = false
  }

  /** The next place where a reader waits, or else the first one. */
  function nextPosition() {
    const wanted = [...waiting].flatMap(({ start, after }) => (start === undefined ? [] : [after])).sort()
    return wanted.find((after) => after >= position) ?? wanted[0] ?? position
  }

  function addPage(page: Page) {
    const lengths = page.chunks.map(({ bytes }) => bytes.length)
    size = sizeOfNext(
      page.chunks.flatMap(({ entries }) => entries).length,
      lengths.reduce((a, b) => a + b, 0)
    )
    position = page.next ?? ''
    recent.push(page)
    if (recent.length > MAX_PAGES) drop(recent.shift() as Page)
    for (const place of [...waiting].filter((place) => continues(page, place))) {
      waiting.delete(place)
      place.page = page
      ready.add(place)
    }
    serve()
  }

  /** One loop for all: a stream that is read at once is ready again at once, and must not starve other work. */
  async function serve() {
    if (isServing) return
    isServing = true
    for (const place of ready) {
      if (served++ % TURN === TURN - 1) await nextTurn()
      if (ready.delete(place)) send(place) // unless it was removed meanwhile
    }
    isServing = false
  }

  /** Its readers continue with another page. */
  function drop(page: Page) {
    for (const place of places.values()) if (place.page === page) place.page = undefined
  }

  /** Writes until the reader is full. */
  function send(place: Place) {
    while (!place.reader.isFull()) {
      place.page ??= recent.findLast((page) => continues(page, place))
      if (!place.page) {
        waiting.add(place)
        if (!isReading) read()
        return
      }
      const chunk = place.page.chunks.find(({ last }) => last > place.after)
      if (chunk) {
        write(place, chunk)
        place.after = chunk.last
      } else leavePage(place, place.page)
      if (place.hasWrapped && place.after >= (place.start as string)) return finish(place)
    }
  }

  function leavePage(place: Place, { next }: Page) {
    place.page = undefined
    place.after = next ?? ''
    place.hasWrapped ||= next === null
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
      const place = { reader, since: number + 1, hasWrapped: false, after: '', hasBegun: false }
      places.set(reader, place)
      send(place)
    },
    /** Call it when a full reader has room again. */
    drained(reader: Reader) {
      const place = places.get(reader)
      if (!place || waiting.has(place)) return
      ready.add(place)
      serve()
    },
    /** Whether the reader's list is not complete yet. */
    has: (reader: Reader) => places.has(reader),
    /** Whether part of the reader's list was sent, but not all. */
    hasBegun: (reader: Reader) => places.get(reader)?.hasBegun ?? false,
    remove
  }
}

/** Whether the reader's list continues with this page. */
function continues({ number, after, next }: Page, place: Place) {
  return (
    number >= place.since && place.start !== undefined && after <= place.after && (next === null || place.after < next)
  )
}

/** The part of a chunk that a reader gets: almost always the bytes that all readers share. */
function partFor(
  { reader: { clientId }, start, after, hasWrapped }: Place,
  { bytes, first, last, entries }: Chunk
): Buffer {
  const end = hasWrapped ? (start as string) : last
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
