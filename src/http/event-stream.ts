import type { ServerResponse } from 'node:http'

export type EventStream = ReturnType<typeof createEventStream>

/**
 * An event as Server-Sent Events write it (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * @param data without line breaks
 */
export function formatEvent(name: string, data: string): Buffer {
  return Buffer.from(`event: ${name}\ndata: ${data}\n\n`)
}

/** Turns a response into a stream of events. Its writer waits for the reader, so that little is kept for anyone. */
export function createEventStream(response: ServerResponse) {
  let sent = 0
  let readBefore = 0

  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no' // nginx: pass on what comes at once
  })
  // Seconds until a client that lost its connection comes back, spread so that not all of them come at once.
  write(Buffer.from(`retry: ${Math.floor(1000 + Math.random() * 4000)}\n\n`))

  function write(bytes: Buffer) {
    sent += bytes.length
    response.write(bytes)
  }

  return {
    write,
    /** Whether the reader has to read before more is written. */
    isFull: () => response.writableNeedDrain,
    /** Calls `resume` each time that the reader has read what was written. */
    onDrain: (resume: () => void) => response.on('drain', resume),
    /** Cuts it off, whatever was sent. */
    destroy: () => response.destroy(),
    /** To be called every now and then: shows that the stream is alive, and cuts it off if nothing was read since the last time. */
    beat(isBetweenEvents: boolean) {
      const read = sent - response.writableLength
      if (response.writableLength > 0 && read <= readBefore) return response.destroy()
      readBefore = read
      if (isBetweenEvents) write(Buffer.from(':\n\n'))
    },
    /** What was sent is still delivered, if it is read within a second. */
    end() {
      response.end()
      setTimeout(() => response.destroy(), 1000).unref()
    }
  }
}
