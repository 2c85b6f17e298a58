import fp from 'fastify-plugin'
import { problem } from '../errors.ts'

/** Requests under way at once: what the database's connections serve well within a second, or else nobody would be served. */
export const MAX_REQUESTS = 200

/** Refuses at once what is more than that: a queue that only grows is one in which everybody waits in vain. */
export default fp(
  async (fastify) => {
    let underWay = 0
    fastify.addHook('onRequest', async (_, reply) => {
      if (underWay === MAX_REQUESTS) throw problem(503, 'service_unavailable', 'too many requests are under way')
      underWay++
      reply.raw.once('close', () => underWay--)
    })
  },
  { name: 'overload' }
)
