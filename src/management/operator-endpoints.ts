import type { FastifyPluginAsync, LogLevel } from 'fastify'
import { VERSION } from '../runtime/version.ts'

/** For orchestrators and Prometheus: whether the process is alive, whether it can serve, and what it has measured. */
const operatorEndpoints: FastifyPluginAsync = async (fastify) => {
  // Requested every few seconds, so only failures are logged.
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
