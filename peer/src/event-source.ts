export interface ServerEvent {
  name: string
  data: string
  /** Milliseconds to wait before reconnecting, if the stream has said so. */
  retry: number | undefined
}

/** Characters in an event: some ten thousand peers. */
const MAX_EVENT = 16 * 1024 * 1024
/** A carriage return at the end of a chunk may be half a line break. */
const LINE_BREAK = /\r\n|\n|\r(?=.)/s

/**
 * Reads Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
 *
 * @throws Error when an event is longer than 16 Mi characters
 */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent, void> {
  let text = ''
  let retry: number | undefined
  let name = ''
  let data: string[] = []
  let length = 0
  let isFirst = true
  for await (const chunk of chunks) {
    text += isFirst ? chunk.replace(/^\uFEFF/, '') : chunk
    isFirst = false
    for (let end = LINE_BREAK.exec(text); end; end = LINE_BREAK.exec(text)) {
      const line = text.slice(0, end.index)
      text = text.slice(end.index + end[0].length)
      if (line === '') {
        if (data.length > 0) yield { name: name || 'message', data: data.join('\n'), retry }
        name = ''
        data = []
        length = 0
        continue
      }
      const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) as unknown as [string, string, string?]
      if (field === 'event') name = value
      else if (field === 'data') data.push(value)
      else if (field === 'retry' && /^\d+$/.test(value)) retry = Number(value)
      length += line.length
    }
    if (length + text.length > MAX_EVENT) throw new Error('an event of the tracker is too long')
  }
}
