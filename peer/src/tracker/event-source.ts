/** A line of a Server-Sent Event's data, or its end. */
export type EventLine =
  /** The stream is open. */
  | { type: 'open' }
  | { type: 'data'; name: string; line: string }
  | { type: 'end'; name: string }
  /** Milliseconds to wait before reconnecting. */
  | { type: 'retry'; delay: number }

/** Characters. A line has one peer. */
const MAX_LINE = 1024 * 1024
/** A carriage return at the end of a chunk may be half a line break. */
const LINE_BREAK = /\r\n|\n|\r(?=.)/s

/**
 * Reads Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation) line by line, so
 * that an event may be of any length. An event's name has to come before its data.
 *
 * @throws Error when a line is longer than 1 Mi characters
 */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<EventLine, void> {
  let text = ''
  let name = ''
  let hasData = false
  let isFirst = true
  yield { type: 'open' }
  for await (const chunk of chunks) {
    text += isFirst ? chunk.replace(/^\uFEFF/, '') : chunk
    isFirst = false
    for (let end = LINE_BREAK.exec(text); end; end = LINE_BREAK.exec(text)) {
      const line = text.slice(0, end.index)
      text = text.slice(end.index + end[0].length)
      if (line === '') {
        if (hasData) yield { type: 'end', name: name || 'message' }
        name = ''
        hasData = false
        continue
      }
      const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) as unknown as [string, string, string?]
      if (field === 'event') name = value
      else if (field === 'data') {
        hasData = true
        yield { type: 'data', name: name || 'message', line: value }
      } else if (field === 'retry' && /^\d+$/.test(value)) yield { type: 'retry', delay: Number(value) }
    }
    if (text.length > MAX_LINE) throw new Error('a line of an event is too long')
  }
}
