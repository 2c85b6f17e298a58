import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../runtime/config.ts'
import { explainTaken } from '../runtime/listen-port.ts'
import { logOptions } from '../runtime/log-options.ts'
import docs from './api-docs.ts'
import managementServer from './management-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The operators' server. */
    management: FastifyInstance
  }
}

/** The operators' own listener, which no mistake at an edge can publish. It starts before the peers' listener and ends after it. */
export default fp<{ config: Config }>(
  async (fastify, { config }) => {
    const { INTERNAL_HOST: host, INTERNAL_PORT: port } = config
    const server: FastifyInstance = Fastify(logOptions(config))
    server.decorate('repository', fastify.repository)
    server.decorate('metrics', fastify.metrics)
    server.register(managementServer, { config })
    fastify.decorate('management', server)
    fastify.addHook('onReady', async () => {
      server.register(docs, { document: fastify.swagger() })
      try {
        await server.listen({ host, port, listenTextResolver: (address) => `Operators are served at ${address}` })
      } catch (error) {
        throw explainTaken(error, host, port, 'INTERNAL_PORT')
      }
    })
    fastify.addHook('onClose', () => server.close())
  },
  { name: 'management-listener', dependencies: ['repository', 'openapi'] }
)
