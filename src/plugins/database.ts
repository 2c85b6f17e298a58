import fp from 'fastify-plugin'
import { connect } from '../database.ts'
import { createRepository, type Repository } from '../repository.ts'

declare module 'fastify' {
  interface FastifyInstance {
    repository: Repository
  }
}

/** Gives the service its repository, over a pool that closes with it. */
export default fp<{ url: string }>(
  async (fastify, { url }) => {
    const sql = connect(url)
    fastify.decorate('repository', createRepository(sql))
    fastify.addHook('onClose', () => sql.end({ timeout: 1 }))
  },
  { name: 'database' }
)
