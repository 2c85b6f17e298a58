import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import deadline, { newDeadline } from '../../src/http/deadline.ts'
import errorHandler from '../../src/http/error-handler.ts'
import requestLog from '../../src/http/request-log.ts'

t.test('a deadline leaves time for an answer within 3 s, and is not much shorter', async (t) => {
  const fastify = Fastify()
  fastify.register(requestLog)
  fastify.register(errorHandler)
  fastify.register(deadline)
  const order: string[] = []
  const act = async ({ deadline }: { deadline: AbortSignal }) => {
    deadline.onabort = () => order.push('deadline')
    await Promise.all([2000, 3000].map((wait) => pause(wait).then(() => order.push(`${wait} ms`))))
    deadline.throwIfAborted()
  }
  fastify.get('/', act)
  fastify.post('/', act)
  t.teardown(() => fastify.close())
  for (const request of [{ url: '/' }, { url: '/', method: 'POST' as const, payload: { a: 1 } }]) {
    order.length = 0
    const answer = await fastify.inject(request)
    // Timers of one process fire in the order in which they are due, however busy the machine is.
    t.same(order, ['2000 ms', 'deadline', '3000 ms'])
    t.match(answer, { statusCode: 503, headers: { 'retry-after': String } })
    t.match(answer.json(), { code: 'service_unavailable' })
  }
})

t.test('simultaneous deadlines share a timer', async (t) => {
  const made = new Set(Array.from({ length: 1000 }, newDeadline))
  t.ok(made.size < 1000)
})
