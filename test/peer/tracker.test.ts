import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { TrackerError } from '../../peer/src/errors.ts'
import { Identity } from '../../peer/src/identity/identity.ts'
import { createTracker } from '../../peer/src/tracker/tracker.ts'
import { startServer } from './helper.ts'

/** Calls to what is not quite a tracker. */
async function startOdd(t: Test, answer: RequestListener) {
  const { server, url, ca } = await startServer(t, answer)
  const { credentials } = await Identity.open(join(t.testdir({}), 'alice'), {
    tracker: url,
    email: 'alice@example.com'
  })
  const connect = (options: { ca?: string; timeout?: number; silence?: number } = { ca }) => {
    const tracker = createTracker({ url, credentials: () => credentials, ...options })
    t.teardown(() => tracker.close())
    return tracker
  }
  return { server, ca, connect }
}

t.test('an answer that is not that of a tracker is reported', async (t) => {
  const { connect, ca } = await startOdd(t, ({ url, method }, response) => {
    if (method === 'POST') response.end('{"expires_in":60,"observed_address":null}')
    else if (url?.includes('/list')) response.end('<h1>Welcome to our hotel</h1>')
    else if (url?.endsWith('/ready')) response.writeHead(502, { 'retry-after': '7' }).end('Bad Gateway')
    else if (url?.endsWith('/certificate')) response.end('x'.repeat(17 * 1024 * 1024))
    else response.writeHead(400).end('{}')
  })
  const tracker = connect({ ca })
  const odd = { status: 200, code: 'not_a_tracker', isTemporary: true, message: /status 200 is not a tracker/ }
  await t.rejects(tracker.list(), odd)
  t.match(await tracker.announce({ port: 1, addresses: [] }), { reannounceAfter: 30 }, 'one that does not say when')
  await t.rejects(tracker.own(), { status: 502, code: 'not_a_tracker', retryAfter: 7 })
  await t.rejects(tracker.certificate(), { code: 'tracker_unreachable', message: /too long/ })
  await t.rejects(tracker.events(new AbortController().signal).next(), { status: 400, code: 'not_a_tracker' })
  await t.rejects(connect({}).list(), { code: 'tracker_untrusted', cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
})

t.test('a call and a stream end after silence, or when the caller does not wait for it', async (t) => {
  const { connect, ca } = await startOdd(t, ({ url }, response) => {
    if (url?.endsWith('/events')) response.writeHead(200).write('event: list\ndata: []\n\n')
  })
  const tracker = connect({ ca, timeout: 2000, silence: 2000 })
  await t.rejects(tracker.list(), { code: 'tracker_unreachable', message: /due to timeout/ })
  const impatient = new AbortController()
  const listing = tracker.list(impatient.signal)
  impatient.abort(new Error('enough'))
  await t.rejects(listing, /enough/)

  const events = tracker.events(new AbortController().signal)
  t.same(await events.next(), { done: false, value: { type: 'open' } })
  t.same(await events.next(), { done: false, value: { type: 'data', name: 'list', line: '[]' } })
  t.same(await events.next(), { done: false, value: { type: 'end', name: 'list' } })
  await t.rejects(events.next(), { code: 'tracker_unreachable' })
  const end = new AbortController()
  const ended = connect({ ca }).events(end.signal)
  for (const type of ['open', 'data', 'end']) t.match(await ended.next(), { value: { type } })
  end.abort(new Error('enough'))
  await t.rejects(ended.next(), /enough/)
})

t.test('a call is repeated if the tracker closes the kept-alive connection in the same moment', async (t) => {
  const calls = new Map<unknown, number>()
  const { connect } = await startOdd(t, ({ socket }, response) => {
    calls.set(socket, (calls.get(socket) ?? 0) + 1)
    if (calls.get(socket) === 2) return socket.destroy()
    response.end('[]')
  })
  const tracker = connect()
  t.same(await tracker.list(), [])
  await new Promise((resolve) => setTimeout(resolve, 50)) // for the connection to be kept
  t.same(await tracker.list(), [])
  t.same([...calls.values()], [2, 1])
})

t.test('a list of many pages is read whole', async (t) => {
  const page = (first: number) => JSON.stringify(Array.from({ length: 1000 }, (_, n) => ({ port: first + n })))
  const asked: unknown[] = []
  const { connect } = await startOdd(t, ({ url }, response) => {
    asked.push(url)
    if (asked.length === 3) return response.end('[]')
    const link = `</api/relay/broadcast/list?limit=1000&cursor=${asked.length}>; rel="next"`
    response.writeHead(200, { link }).end(page(asked.length * 1000))
  })
  const list = await connect().list()
  t.same(
    list.map(({ port }) => port),
    Array.from({ length: 2000 }, (_, n) => n + 1000)
  )
  const path = '/api/relay/broadcast/list?limit=1000'
  t.same(asked, [path, `${path}&cursor=1`, `${path}&cursor=2`])
})

t.test('a tracker that does not listen is reported', async (t) => {
  const { connect, server } = await startOdd(t, () => {})
  server.close()
  await t.rejects(connect().list(), { status: 0, message: /cannot be reached: .*ECONNREFUSED/ })
})

t.test('temporary failures are told from lasting ones', async (t) => {
  const passing = (status: number, code = 'x') => new TrackerError('', { status, code }).isTemporary
  t.same(
    [400, 401, 403, 404, 409].map((status) => passing(status)),
    [false, false, false, false, false]
  )
  t.same(
    [408, 429, 500, 503].map((status) => passing(status)),
    [true, true, true, true]
  )
  t.ok(passing(0, 'tracker_unreachable'))
  t.ok(passing(403, 'email_unverified'))
})

t.test('a stream that does not begin is given up in time', async (t) => {
  const { connect, ca } = await startOdd(t, () => {})
  const stream = connect({ ca, timeout: 100 }).events(new AbortController().signal)
  await t.rejects(stream.next(), { code: 'tracker_unreachable', message: /no answer in time/ })
})
