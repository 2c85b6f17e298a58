import type { FastifyPluginAsync } from 'fastify'
import { events as operation } from './events.openapi.ts'

/** `GET /broadcast/events`: who is online, live, as Server-Sent Events. */
const events: FastifyPluginAsync = async (fastify) => {
  const options = { onRequest: fastify.authenticate, exposeHeadRoute: false, config: { operation } }
  fastify.get('/broadcast/events', options, async (request, reply) => {
    const { client, fingerprint } = request
    fastify.watch(reply, { clientId: client.id, email: client.email, fingerprint })
    request.stopCounting()
  })
}

export default events
