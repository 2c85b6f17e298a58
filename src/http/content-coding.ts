import { httpErrors } from '@fastify/sensible'
import fp from 'fastify-plugin'

/** Refuses a compressed body with 415 and `Accept-Encoding`, as RFC 9110, section 15.5.16, asks for. */
export default fp(
  async (fastify) => {
    fastify.addHook('preParsing', (request, reply, payload, done) => {
      const coding = request.headers['content-encoding'] || 'identity'
      // Without a schema for it, the body is not read.
      if (coding.toLowerCase() === 'identity' || !request.routeOptions.schema?.body) return done(null, payload)
      reply.header('accept-encoding', 'identity')
      done(httpErrors.unsupportedMediaType())
    })
  },
  { name: 'content-coding' }
)
