import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import deadline from './plugins/deadline.ts'
import errorHandler from './plugins/error-handler.ts'
import health from './routes/health.ts'

/** What operators ask a process, whichever it is. No edge passes anything on to it. */
async function internal(fastify: FastifyInstance) {
  fastify.register(errorHandler)
  fastify.register(deadline)
  fastify.register(health)
}

export default fp(internal, { name: 'internal', decorators: { fastify: ['repository'] } })
