import { formatEvent } from '../http/event-stream.ts'
import type { Broadcast } from '../repository/broadcasts.ts'

/** Bytes of events that are kept for those who are still being sent their list: at 300 bytes each, of 100,000 changes. */
const MAX_BYTES = 32 * 1024 * 1024

/** What one look at the database found: events that follow one another. */
interface Entry {
  bytes: Buffer
  /** Where each peer's own event is. */
  places: Map<string, { start: number; end: number }>
}

export type ChangeLog = ReturnType<typeof createChangeLog>

/**
 * The last events, once for all watchers, each of whom has a position in it. So what is kept does not depend on how many watch, nor on how
 * slowly they read.
 *
 * @param maxBytes of events; the oldest are dropped
 */
export function createChangeLog(maxBytes = MAX_BYTES) {
  let entries: Entry[] = []
  let first = 0
  let bytes = 0

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
      const places: Entry['places'] = new Map()
      let length = 0
      const events = emails.map((email) => {
        const json = found.get(email)
        const event = json ? formatEvent('online', json) : formatEvent('offline', JSON.stringify({ email }))
        places.set(email, { start: length, end: length + event.length })
        length += event.length
        return event
      })
      entries.push({ bytes: Buffer.concat(events), places })
      bytes += length
      while (bytes > maxBytes && entries.length > 1) {
        bytes -= (entries.shift() as Entry).bytes.length
        first++
      }
    },

    /** The events at a position, without those about the reader itself. */
    at(position: number, reader: string): Buffer[] {
      const { bytes, places } = entries[position - first] as Entry
      const own = places.get(reader)
      const parts = own ? [bytes.subarray(0, own.start), bytes.subarray(own.end)] : [bytes]
      return parts.filter(({ length }) => length > 0)
    },

    /** Forgets everything: positions before are too old. */
    clear() {
      first += entries.length + 1
      entries = []
      bytes = 0
    }
  }
}
