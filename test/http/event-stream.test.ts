import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CHUNK_BYTES, createEventStream, inChunks } from '../../src/http/event-stream.ts'
import { eventually } from '../support/eventually.ts'

const MANY = Buffer.alloc(20 * 2 ** 20, ':')

/** A stream and its reader. */
async function startStream(t: Test, onRead?: () => void) {
  const server = http.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const req = http.get({ port: (server.address() as AddressInfo).port, agent: false })
  const [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  const stream = createEventStream(response, onRead)
  const [reader] = (await once(req, 'response')) as [IncomingMessage]
  t.teardown(() => reader.destroy())
  return { stream, response, reader: reader.on('error', () => {}) }
}

t.test('a writer is told when to wait for the reader, and when to go on', async (t) => {
  let read = 0
  const { stream, reader } = await startStream(t, () => read++)
  await eventually(
    async () => read,
    (times) => times === 1
  )
  t.equal(stream.isFull(), false)
  stream.write(MANY)
  t.equal(stream.isFull(), true)
  reader.resume()
  await eventually(
    async () => read,
    (times) => times === 2
  )
  t.equal(stream.isFull(), false)
})

t.test('a reader who reads nothing between two comments is disconnected', async (t) => {
  const { stream, response } = await startStream(t)
  stream.write(MANY)
  await eventually(
    async () => stream.heartbeat(true),
    () => response.destroyed
  )
})

t.test('a reader who reads, however slowly, stays connected', async (t) => {
  const { stream, response, reader } = await startStream(t)
  stream.write(MANY)
  reader.resume()
  for (let n = 0; n < 3; n++) {
    await eventually(
      async () => response.writableLength,
      (length) => length === 0
    )
    stream.heartbeat(true)
  }
  t.notOk(response.destroyed)
  stream.end()
  await once(reader, 'end')
})

t.test('a comment never interrupts an event', async (t) => {
  const { stream, response, reader } = await startStream(t)
  stream.write(Buffer.from('event: list\n'))
  await eventually(
    async () => response.writableLength,
    (length) => length === 0
  )
  stream.heartbeat(false)
  stream.write(Buffer.from('data: []\n\n'))
  await eventually(
    async () => response.writableLength,
    (length) => length === 0
  )
  stream.heartbeat(true)
  stream.end()
  const text = (await reader.setEncoding('utf8').toArray()).join('')
  t.match(text, /^retry: \d+\n\nevent: list\ndata: \[\]\n\n:\n\n$/)
})

t.test('an ended stream that nobody reads is closed before an ending process would be killed', async (t) => {
  const { stream, response } = await startStream(t)
  stream.write(MANY)
  const patience = pause(8000, undefined, { ref: false })
  stream.end()
  await Promise.race([once(response, 'close'), patience])
  t.ok(response.destroyed)
  t.notOk(response.writableFinished)
})

t.test('chunks keep the order, and are little larger than they should be', async (t) => {
  t.same(inChunks([]), [])
  const parts = Array.from({ length: 50 }, (_, n) => ({ n, length: n % 5 === 0 ? 6000 : 300 }))
  const chunks = inChunks(parts)
  t.same(chunks.flat(), parts)
  const sizes = chunks.map((chunk) => chunk.reduce((sum, { length }) => sum + length, 0))
  t.ok(sizes.every((size) => size < CHUNK_BYTES + 6000))
  t.ok(sizes.slice(0, -1).every((size) => size >= CHUNK_BYTES))
})
