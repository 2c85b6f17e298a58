import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { Broadcast } from './schemas.ts'

const schema = { response: { 200: Type.Array(Broadcast) } }

/** `GET /broadcast/list`: everyone online but the caller, by e-mail address. */
const list: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.get('/broadcast/list', { schema, onRequest: fastify.authenticate }, ({ client, deadline }) =>
    fastify.repository.listBroadcasts(client.id, deadline)
  )
}

export default list
