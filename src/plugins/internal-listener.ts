import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../config.ts'
import internal from '../internal.ts'
import { logOptions } from '../log.ts'
import { explainTaken } from '../port.ts'
import docs from '../routes/docs.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The server for operators. */
    internal: FastifyInstance
  }
}

/**
 * A listener of its own for what only operators may ask: no rule of an edge can be wrong about it. It is there before the public
 * one and after it.
 */
export default fp<{ config: Config }>(
  async (fastify, { config }) => {
    const { INTERNAL_HOST: host, INTERNAL_PORT: port } = config
    const server: FastifyInstance = Fastify(logOptions(config))
    server.decorate('repository', fastify.repository)
    server.decorate('metrics', fastify.metrics)
    server.register(internal, { config })
    fastify.decorate('internal', server)
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
  { name: 'internal-listener', dependencies: ['database', 'openapi'] }
)
