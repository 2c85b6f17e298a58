import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import deadline from '../http/deadline.ts'
import errorHandler from '../http/error-handler.ts'
import requestLog from '../http/request-log.ts'
import type { Config } from '../runtime/config.ts'
import hostCheck from './host-check.ts'
import operatorEndpoints from './operator-endpoints.ts'

/** What every process serves operators. No edge passes requests on to it, and no web page can reach it. */
async function managementServer(fastify: FastifyInstance, { config }: { config: Pick<Config, 'INTERNAL_HOSTS'> }) {
  fastify.register(requestLog)
  fastify.register(errorHandler)
  fastify.register(hostCheck, { names: config.INTERNAL_HOSTS })
  fastify.register(deadline)
  fastify.register(operatorEndpoints)
}

export default fp(managementServer, { name: 'management-server', decorators: { fastify: ['repository', 'metrics'] } })
