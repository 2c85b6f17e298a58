import type { Socket } from 'node:net'

/** A server's answer; its status is 0 for the bare body of HTTP/0.9. Bytes are characters (Latin-1). */
export interface Answer {
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  body: string
}

export interface Outcome {
  answers: Answer[]
  /** Whether the server keeps the connection, closed it, or said no more for `PATIENCE`. */
  end: 'kept' | 'closed' | 'silent'
}

/** Milliseconds for the answer to a whole request; for one that may be incomplete; for another answer after the first. */
const PATIENCE = { whole: 20_000, doubtful: 1000, further: 100 }

/**
 * Sends a request's bytes on an open connection, and reads one answer if the request is complete, or else whatever the server makes of it.
 * Destroys the connection unless the server keeps it.
 */
export function exchange(socket: Socket, request: Buffer, whole: boolean): Promise<Outcome> {
  const isHead = asksForHead(request)
  return new Promise((resolve) => {
    const answers: Answer[] = []
    let received = ''
    let timer = setTimeout(() => finish('silent'), whole ? PATIENCE.whole : PATIENCE.doubtful)
    const read = (isClosed = false) => {
      for (;;) {
        const parsed = parseAnswer(received, isHead && answers.length === 0, isClosed)
        if (!parsed) return
        received = received.slice(parsed.length)
        if (parsed.status !== 100) answers.push(parsed)
      }
    }
    const onData = (chunk: Buffer) => {
      received += chunk.toString('latin1')
      read()
      const last = answers.at(-1)
      if (!last) return
      if (last.headers.connection === 'close' || isStream(last)) finish('closed')
      else if (whole) finish('kept')
      else {
        clearTimeout(timer)
        timer = setTimeout(() => finish('silent'), PATIENCE.further)
      }
    }
    const onClose = () => {
      read(true)
      finish('closed')
    }
    const finish = (end: Outcome['end']) => {
      clearTimeout(timer)
      socket.off('data', onData).off('close', onClose)
      if (end !== 'kept') socket.destroy()
      resolve({ answers, end })
    }
    socket.on('data', onData).on('close', onClose)
    if (socket.destroyed) onClose()
    else socket.write(request)
  })
}

/** Whether the answer has no body, whatever its length says. Servers skip line breaks before a request. */
export function asksForHead(request: Buffer) {
  return /^[\r\n]*HEAD /.test(request.toString('latin1'))
}

/** Whether the answer never ends. */
export function isStream({ headers }: { headers: Answer['headers'] }) {
  return headers['content-type'] === 'text/event-stream'
}

/** Whether it is clear where a request ends, whatever else is wrong with it. */
export function isWhole(request: Buffer) {
  const text = request.toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  const [start, ...lines] = text.slice(0, Math.max(0, end)).split('\r\n') as [string, ...string[]]
  if (!start.includes(' HTTP/1.') || start.startsWith('CONNECT ')) return false
  if (/[\r\n]/.test(start) || lines.some((line) => /^\s|[\r\n]|^(transfer.encoding|upgrade|expect)\b/i.test(line)))
    return false
  const [length, ...more] = lines.filter((line) => /^content.length\b/i.test(line))
  return more.length === 0 && (length ?? 'Content-Length: 0') === `Content-Length: ${text.length - end - 4}`
}

function parseAnswer(text: string, isHead: boolean, isClosed: boolean): (Answer & { length: number }) | undefined {
  if (text === '') return undefined
  if (!text.startsWith('HTTP/1.'.slice(0, text.length))) {
    return isClosed ? { status: 0, headers: {}, body: text, length: text.length } : undefined
  }
  const start = text.indexOf('\r\n\r\n') + 4
  if (start === 3) return undefined
  const [line, ...lines] = text.slice(0, start - 4).split('\r\n') as [string, ...string[]]
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])
  )
  const status = Number(line.split(' ')[1])
  if (isStream({ headers })) return { status, headers, body: '', length: text.length }
  const hasBody = !isHead && status >= 200 && status !== 204 && status !== 304
  const length = hasBody ? Number(headers['content-length'] ?? chunkedLength(text, start)) : 0
  if (text.length - start < length && !isClosed) return undefined
  const body = text.slice(start, start + length)
  return { status, headers, body, length: Math.min(text.length, start + length) }
}

/** Chunks were only ever seen empty. A body without a length ends with the connection. */
function chunkedLength(text: string, start: number) {
  return text.startsWith('0\r\n\r\n', start) ? 5 : Number.POSITIVE_INFINITY
}
