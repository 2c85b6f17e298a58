import fp from 'fastify-plugin'
import { createPool } from '../pool.ts'
import { createRepository, type Repository } from '../repository/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

/** Gives the service its repository, over a pool that closes with it. */
export default fp<{ url: string }>(
  async (fastify, { url }) => {
    const pool = createPool(url)
    fastify.decorate('repository', createRepository(pool))
    fastify.addHook('onClose', pool.end)
  },
  { name: 'database' }
)
