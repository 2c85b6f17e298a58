import type { ServerResponse } from 'node:http'

/**
 * Bytes written to a stream at once, give or take an event. No more is buffered for a slow reader: with TLS, each has its own encrypted
 * copy.
 */
export const CHUNK_BYTES = 8 * 1024

export type EventStream = ReturnType<typeof createEventStream>

/**
 * A Server-Sent Event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * @param data without line breaks
 */
export function formatEvent(name: string, data: string): Buffer {
  return Buffer.from(`event: ${name}\ndata: ${data}\n\n`)
}

/** Groups consecutive parts into chunks of about CHUNK_BYTES each. */
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
 * Turns a response into a stream of events.
 *
 * @param onRead called each time everything written has been sent
 */
export function createEventStream(response: ServerResponse, onRead: () => void = () => {}) {
  let sent = 0
  let unread = 0
  let readBefore = 0

  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no' // for nginx
  })
  // Milliseconds. Random, so that disconnected clients do not all return at once.
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
    /** Whether something is unread. Node.js considers a stream full only when much more is. */
    isFull: () => unread > 0,
    destroy: () => response.destroy(),
    /** Call it at intervals: disconnects a reader who has read nothing since the last call, and shows others that the stream is alive. */
    heartbeat(isBetweenEvents: boolean) {
      const read = sent - unread
      if (unread > 0 && read <= readBefore) return response.destroy()
      readBefore = read
      if (isBetweenEvents) write(Buffer.from(':\n\n'))
    },
    /** Ends the stream; the reader has a second to read the rest. */
    end() {
      response.end()
      setTimeout(() => response.destroy(), 1000).unref()
    }
  }
}
