import { formatEvent, inChunks } from '../http/event-stream.ts'
import type { Broadcast } from './broadcasts.repository.ts'

/** Bytes that are kept for those who are still being sent their list: some 80,000 changes of 300 bytes each. */
const MAX_BYTES = 32 * 1024 * 1024
/** What an event takes besides its own bytes and those of its peer's address. */
const OVERHEAD = 64

/** Events that follow one another. */
interface Entry {
  events: { email: string; start: number; length: number }[]
  bytes: Buffer
  /** Bytes of memory. */
  size: number
}

export type ChangeLog = ReturnType<typeof createChangeLog>

/**
 * The last events, once for all watchers, each of whom has a position in it. So what is kept does not depend on how many watch, nor on how
 * slowly they read.
 *
 * @param maxBytes of memory; the oldest are dropped
 */
export function createChangeLog(maxBytes = MAX_BYTES) {
  let entries: Entry[] = []
  let first = 0
  let size = 0

  return {
    /** The position of what is still to come. */
    end: () => first + entries.length,

    /** Whether what comes next at this position was dropped. */
    isTooOld: (position: number) => position < first,

    /**
     * Adds what became of these peers.
     *
     * @param online those of them that are
     */
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

    /** The events at a position, without those about the reader itself. */
    at(position: number, reader: string): Buffer {
      const { bytes, events } = entries[position - first] as Entry
      const own = events.find(({ email }) => email === reader)
      if (!own) return bytes
      return Buffer.concat([bytes.subarray(0, own.start), bytes.subarray(own.start + own.length)])
    },

    /** Forgets everything: positions before are too old. */
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
