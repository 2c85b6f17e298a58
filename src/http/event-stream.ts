import type { ServerResponse } from 'node:http'

/**
 * Bytes that are written to a stream at once, plus at most one event or line. No more is ever buffered for one reader, however slow; that
 * matters most with TLS, where each reader has its own encrypted copy.
 */
export const CHUNK_BYTES = 8 * 1024

export type EventStream = ReturnType<typeof createEventStream>

/**
 * An event as Server-Sent Events write it (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * @param data without line breaks
 */
export function formatEvent(name: string, data: string): Buffer {
  return Buffer.from(`event: ${name}\ndata: ${data}\n\n`)
}

/** Divides parts into runs of about CHUNK_BYTES each, in order. */
export function inChunks<T extends { length: number }>(parts: T[]): T[][] {
  const chunks: T[][] = []
  let length = CHUNK_BYTES
  for (const part of parts) {
    if (length >= CHUNK_BYTES) {
      chunks.push([])
      length = 0
    }
    chunks.at(-1)?.push(part)
    length += part.length
  }
  return chunks
}

/**
 * Turns a response into a stream of events. Writers should wait for the reader, so that little is buffered.
 *
 * @param onRead is called each time everything written has been sent
 */
export function createEventStream(response: ServerResponse, onRead: () => void = () => {}) {
  let sent = 0
  let unread = 0
  let readBefore = 0

  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no' // nginx: pass everything on at once
  })
  // Milliseconds until a disconnected client comes back, spread so that not all come back together.
  write(Buffer.from(`retry: ${Math.floor(1000 + Math.random() * 4000)}\n\n`))

  function write(bytes: Buffer) {
    sent += bytes.length
    unread += bytes.length
    response.write(bytes, () => {
      unread -= bytes.length
      if (unread === 0) onRead()
    })
  }

  return {
    write,
    /** Whether the reader has yet to read what was written. Node.js calls a stream full only with a lot more. */
    isFull: () => unread > 0,
    /** Closes the connection at once. */
    destroy: () => response.destroy(),
    /** To be called at intervals: shows that the stream is alive, and disconnects a reader who has read nothing since the last call. */
    heartbeat(isBetweenEvents: boolean) {
      const read = sent - unread
      if (unread > 0 && read <= readBefore) return response.destroy()
      readBefore = read
      if (isBetweenEvents) write(Buffer.from(':\n\n'))
    },
    /** Ends the stream; what was written is still delivered if it is read within a second. */
    end() {
      response.end()
      setTimeout(() => response.destroy(), 1000).unref()
    }
  }
}
