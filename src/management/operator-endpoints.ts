import type { FastifyPluginAsync, LogLevel } from 'fastify'
import { VERSION } from '../runtime/version.ts'

/** For orchestrators and Prometheus: is the process alive, can it serve, and what has it measured? */
const operatorEndpoints: FastifyPluginAsync = async (fastify) => {
  // Asked every few seconds: logged only when they fail.
  const logLevel = fastify.log.level === 'info' ? 'warn' : (fastify.log.level as LogLevel)

  fastify.get('/livez', { logLevel }, async () => ({ status: 'alive', version: VERSION }))

  fastify.get('/readyz', { logLevel }, async ({ deadline }) => {
    await fastify.repository.ping(deadline)
    return { status: 'ready' }
  })

  fastify.get('/metrics', { logLevel }, async (_, reply) => {
    reply.type(fastify.metrics.contentType)
    return fastify.metrics.metrics()
  })
}

export default operatorEndpoints
