import type { Registry } from '@prometheus-io/client'
import fp from 'fastify-plugin'
import { createRegistry } from './metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where each plugin puts what it measures; operators read it at /metrics. */
    metrics: Registry
  }
}

/** Gives a process its metrics. */
export default fp(
  async (fastify) => {
    fastify.decorate('metrics', createRegistry())
  },
  { name: 'metrics' }
)
