import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { MinimumRateOptions } from '../../src/http/minimum-rate.ts'
import queryIntegers from '../../src/http/query-integers.ts'
import { VALIDATION } from '../../src/http/server-options.ts'
import { BroadcastSchema } from '../../src/presence/broadcast-schema.ts'
import type { Page } from '../../src/presence/list.repository.ts'
import list, { MAX_LISTS, MAX_PAGES } from '../../src/presence/list.ts'
import { connectionsOf } from '../support/connections.ts'
import { eventually } from '../support/eventually.ts'

const MiB = 2 ** 20
const ID = '0a1b2c3d-0a1b-4c3d-8a1b-0a1b2c3d4e5f'
const LARGE: Page = { json: Buffer.alloc(MiB / 2, '1'), size: 1, next: ID }
const SMALL: Page = { json: Buffer.from('1'), size: 1, next: ID }
/** More than the buffers on the way hold. */
const PAGES = 128

/** The list call alone, with pages made by `page`. */
async function startLists(
  t: Test,
  page: (number: number, limit: number) => Promise<Page>,
  minimumRate: MinimumRateOptions = {}
) {
  const fastify = Fastify(VALIDATION)
  let number = 0
  const repository = {
    list: { version: async () => '', page: (_: string, __: string, limit: number) => page(number++, limit) }
  }
  fastify.decorate('repository', repository as never)
  fastify.decorateRequest('caller', () => ({ identify: async () => ({ id: ID }) }) as never)
  fastify.addSchema(BroadcastSchema)
  fastify.setErrorHandler<{ code: string }>(({ code }, _, reply) =>
    reply.code(code === 'service_unavailable' ? 503 : 500).send(code)
  )
  fastify.register(queryIntegers)
  fastify.register(list, { minimumRate })
  await fastify.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => {
    fastify.server.closeAllConnections()
    return fastify.close()
  })
  const { port } = fastify.server.address() as AddressInfo
  return {
    /** An unread answer. */
    async open(query = '') {
      const req = http.get(`http://127.0.0.1:${port}/broadcast/list${query}`, { agent: false })
      const [response] = (await once(req, 'response')) as [IncomingMessage]
      t.teardown(() => response.on('error', () => {}).destroy())
      return response
    },
    connections: () => connectionsOf(fastify.server)
  }
}

const upTo = (last: number, page: Page) => async (number: number) => (number < last ? page : { ...page, next: null })
const never = () => new Promise<never>(() => {})

/** Reads a little every 50 ms until the connection is gone: reading what the network still holds would take long. */
async function readSlowly({ open, connections }: Awaited<ReturnType<typeof startLists>>, query?: string) {
  const response = await open(query)
  const timer = setInterval(() => response.read(Math.min(8 * 1024, response.readableLength || 1)), 50)
  const left = await eventually(connections, (count) => count === 0, 25)
  clearInterval(timer)
  return left
}

t.test('a slow reader is cut off, and a fast one is not', async (t) => {
  const minimumRate = { grace: 500, speed: 4 * MiB }
  const slow = await startLists(t, async () => LARGE, minimumRate)
  t.equal(await readSlowly(slow), 0)

  const fast = await startLists(t, upTo(PAGES, LARGE), minimumRate)
  const chunks = await (await fast.open()).toArray()
  t.equal(Buffer.concat(chunks).length, (PAGES + 1) * (LARGE.json.length + 1) + 1)
})

t.test('a slow reader of a single page, or of the last one, is cut off', async (t) => {
  const last = { json: Buffer.alloc(32 * MiB, '1'), size: 1, next: null }
  for (const [query, pages] of [
    ['', [last]],
    ['?limit=1', [last]],
    ['', [SMALL, last]]
  ] as const) {
    const lists = await startLists(t, async (number) => pages[number] as Page, { grace: 500, speed: 32 * MiB })
    t.equal(await readSlowly(lists, query), 0)
  }
})

t.test('a reader that stops is cut off, however fast it was', async (t) => {
  const { open, connections } = await startLists(t, async () => LARGE, { silence: 500 })
  const response = await open()
  response.resume()
  await pause(100)
  response.pause()
  t.equal(await eventually(connections, (count) => count === 0, 25), 0)
})

t.test('time spent by the database does not count', async (t) => {
  const page = async (number: number) => {
    if (number > 0) await pause(700)
    return upTo(4, SMALL)(number)
  }
  const { open } = await startLists(t, page, { grace: 1000 })
  t.equal(String(Buffer.concat(await (await open()).toArray())), '[1,1,1,1,1]')
})

t.test('a reader that leaves during a query is no failure', async (t) => {
  const { promise, resolve } = Promise.withResolvers<Page>()
  const { open, connections } = await startLists(t, (number) => (number === 0 ? Promise.resolve(SMALL) : promise))
  const response = await open()
  response.destroy()
  await eventually(connections, (count) => count === 0)
  resolve(LARGE)
  t.match(await open('?limit=1'), { statusCode: 200 }, 'others go on')
})

t.test('single pages are served while all whole lists are taken, and the other way round', async (t) => {
  let taken: () => Promise<Page> = async () => LARGE
  const { open } = await startLists(t, (_, limit) => (limit === 1 ? taken() : Promise.resolve(LARGE)))
  const lists = await Promise.all(Array.from({ length: MAX_LISTS }, () => open()))
  t.ok(lists.every(({ statusCode }) => statusCode === 200))
  t.match(await open(), { statusCode: 503 })
  t.match(await open('?limit=1'), { statusCode: 200 })

  for (const response of lists) response.on('error', () => {}).destroy()
  taken = never
  for (let n = 0; n < MAX_PAGES; n++) open('?limit=1').catch(() => {})
  await eventually(
    () => open('?limit=2'),
    ({ statusCode }) => statusCode === 503
  )
  await eventually(
    () => open(),
    ({ statusCode }) => statusCode === 200
  )
})
