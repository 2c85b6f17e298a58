import { connect } from 'node:net'
import { edgeHeader, type Peer } from './peers.ts'

export type Reader = ReturnType<typeof openReader>

/** The last line of the event `list`, whether it is empty or not. */
const END_OF_LIST = ['\ndata: ]\n', '\ndata: []\n']

/**
 * A caller that is cheap enough to have thousands of, and may read next to nothing.
 *
 * @param bytesPerSecond how fast it reads: as fast as it can by default, and not at all with 0
 */
export function openReader(origin: string, path: string, as: Peer, bytesPerSecond = Number.POSITIVE_INFINITY) {
  const { hostname, port } = new URL(origin)
  const socket = connect(Number(port), hostname)
  const headers = Object.entries({ host: 'relay', ...edgeHeader(as) }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET /api/relay${path} HTTP/1.1\r\n${headers.join('')}\r\n`)
  let head = ''
  let last = Buffer.alloc(0)
  let timer: NodeJS.Timeout | undefined
  const reader = {
    bytes: 0,
    status: 0,
    /** Whether it has read a stream's first list to its end. */
    hasList: false,
    isClosed: false,
    close() {
      clearInterval(timer)
      socket.destroy()
    }
  }
  const take = (chunk: Buffer) => {
    if (reader.status === 0) {
      head += chunk.toString('latin1', 0, 16)
      reader.status = Number(/^HTTP\/1.1 (\d{3})/.exec(head)?.[1] ?? 0)
    }
    reader.bytes += chunk.length
    if (reader.hasList) return
    const seen = Buffer.concat([last, chunk])
    reader.hasList = END_OF_LIST.some((line) => seen.includes(line))
    last = seen.subarray(-16)
  }
  socket.on('error', () => {}) // it was cut off
  socket.on('close', () => {
    reader.isClosed = true
    clearInterval(timer)
  })
  if (bytesPerSecond === Number.POSITIVE_INFINITY) socket.on('data', take)
  else {
    socket.pause()
    timer = setInterval(() => {
      const chunk = bytesPerSecond > 0 && socket.read(Math.max(1, Math.min(bytesPerSecond, socket.readableLength)))
      if (chunk) take(chunk)
    }, 1000)
  }
  return reader
}
