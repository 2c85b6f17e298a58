import type { FastifyPluginAsync, LogLevel } from 'fastify'
import { VERSION } from '../runtime/version.ts'

/** For orchestrators, inside only: is the process alive, and can it serve? */
const health: FastifyPluginAsync = async (fastify) => {
  // Asked every few seconds: of interest only when it fails.
  const logLevel = fastify.log.level === 'info' ? 'warn' : (fastify.log.level as LogLevel)

  fastify.get('/livez', { logLevel }, async () => ({ status: 'alive', version: VERSION }))

  fastify.get('/readyz', { logLevel }, async ({ deadline }) => {
    await fastify.repository.ping(deadline)
    return { status: 'ready' }
  })
}

export default health
