import { formatEvent, inChunks } from '../http/event-stream.ts'
import type { Broadcast } from './broadcasts.repository.ts'

/** Bytes kept for watchers that are still receiving their list: some 80,000 changes of 300 bytes. */
const MAX_BYTES = 32 * 1024 * 1024
/** Bytes that an event takes besides its text and its e-mail address. */
const OVERHEAD = 64

/** Consecutive events. */
interface Entry {
  events: { email: string; start: number; length: number }[]
  bytes: Buffer
  /** Bytes of memory. */
  size: number
}

/**
 * The latest events, stored once for all watchers: each has a position, so memory depends neither on their number nor on their speed.
 *
 * @param maxBytes of memory; beyond that, the oldest events are dropped
 */
export function createChangeLog(maxBytes = MAX_BYTES) {
  let entries: Entry[] = []
  let first = 0
  let size = 0

  return {
    /** The position after the last event. */
    end: () => first + entries.length,

    /** Whether the events at this position were dropped. */
    isTooOld: (position: number) => position < first,

    /** Adds an event for each of these peers: `online` with its broadcast, or `offline`. */
    append(emails: string[], online: Broadcast[]) {
      const found = new Map(online.map(({ email, json }) => [email, json]))
      const events = emails.map((email) => {
        const json = found.get(email)
        const bytes = json ? formatEvent('online', json) : formatEvent('offline', JSON.stringify({ email }))
        return { email, bytes, length: bytes.length }
      })
      for (const chunk of inChunks(events)) {
        const entry = toEntry(chunk)
        entries.push(entry)
        size += entry.size
      }
      while (size > maxBytes && entries.length > 1) {
        size -= (entries.shift() as Entry).size
        first++
      }
    },

    /** The events at a position, except one about the reader itself. */
    at(position: number, reader: string): Buffer {
      const { bytes, events } = entries[position - first] as Entry
      const own = events.find(({ email }) => email === reader)
      if (!own) return bytes
      return Buffer.concat([bytes.subarray(0, own.start), bytes.subarray(own.start + own.length)])
    },

    /** Drops all events: every earlier position is then too old. */
    clear() {
      first += entries.length + 1
      entries = []
      size = 0
    }
  }
}

function toEntry(chunk: { email: string; bytes: Buffer; length: number }[]): Entry {
  const bytes = Buffer.concat(chunk.map((event) => event.bytes))
  let end = 0
  const events = chunk.map(({ email, length }) => {
    end += length
    return { email, start: end - length, length }
  })
  const size = events.reduce((sum, { email, length }) => sum + length + email.length + OVERHEAD, 0)
  return { events, bytes, size }
}
