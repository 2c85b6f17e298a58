import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createEventStream } from '../src/event-stream.ts'
import { eventually } from './helper.ts'

const MiB = Buffer.alloc(2 ** 20, ':')

/** A stream, and the one who does or does not read it. */
async function startStream(t: Test) {
  const server = http.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const req = http.get({ port: (server.address() as AddressInfo).port, agent: false })
  const [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  const stream = createEventStream(response)
  const [reader] = (await once(req, 'response')) as [IncomingMessage]
  t.teardown(() => reader.destroy())
  return { stream, response, reader: reader.on('error', () => {}) }
}

t.test('who does not read is cut off when too much waits for it', async (t) => {
  const { stream, response } = await startStream(t)
  stream.send(...Array.from({ length: 20 }, () => MiB))
  stream.send(MiB)
  t.notOk(response.destroyed, 'one thing may be as large as it is')
  for (let n = 0; n < 100 && !response.destroyed; n++) stream.send(MiB)
  t.ok(response.destroyed)
})

t.test('who reads nothing between two comments is cut off', async (t) => {
  const { stream, response } = await startStream(t)
  stream.send(...Array.from({ length: 20 }, () => MiB))
  await eventually(
    async () => stream.beat(),
    () => response.destroyed
  )
})

t.test('who reads, however slowly, is not', async (t) => {
  const { stream, response, reader } = await startStream(t)
  stream.send(...Array.from({ length: 20 }, () => MiB))
  reader.resume()
  for (let n = 0; n < 3; n++) {
    await eventually(
      async () => response.writableLength,
      (length) => length === 0
    )
    stream.beat()
  }
  t.notOk(response.destroyed)
  stream.end()
  await once(reader, 'end')
})

t.test('what has ended and is not read is cut off too', async (t) => {
  const { stream, response } = await startStream(t)
  stream.send(...Array.from({ length: 20 }, () => MiB))
  stream.end()
  await once(response, 'close')
  t.notOk(response.writableFinished)
})
