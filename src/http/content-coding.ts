import { httpErrors } from '@fastify/sensible'
import fp from 'fastify-plugin'

/** Refuses a body that is compressed, or has any other content coding, with 415 and the header that RFC 9110, section 15.5.16, asks for. */
export default fp(
  async (fastify) => {
    fastify.addHook('preParsing', (request, reply, payload, done) => {
      const coding = request.headers['content-encoding'] || 'identity'
      // A call without a body schema reads no body.
      if (coding.toLowerCase() === 'identity' || !request.routeOptions.schema?.body) return done(null, payload)
      reply.header('accept-encoding', 'identity')
      done(httpErrors.unsupportedMediaType())
    })
  },
  { name: 'content-coding' }
)
