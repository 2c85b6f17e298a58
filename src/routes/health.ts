import type { FastifyPluginAsync } from 'fastify'

/** For orchestrators, inside only: is the process alive, and can it serve? */
const health: FastifyPluginAsync = async (fastify) => {
  fastify.get('/livez', { logLevel: 'warn' }, async () => ({ status: 'alive' }))

  fastify.get('/readyz', { logLevel: 'warn' }, async () => {
    await fastify.repository.ping()
    return { status: 'ready' }
  })
}

export default health
