import type { FastifyPluginAsync, LogLevel } from 'fastify'

/** `GET /metrics`, inside only, in Prometheus's text format. */
const metrics: FastifyPluginAsync = async (fastify) => {
  const logLevel: LogLevel = 'warn' // asked every few seconds

  fastify.get('/metrics', { logLevel }, async (_, reply) => {
    reply.type(fastify.metrics.contentType)
    return fastify.metrics.metrics()
  })
}

export default metrics
