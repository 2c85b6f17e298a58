import { httpErrors } from '@fastify/sensible'
import fp from 'fastify-plugin'

/** Refuses a body that is compressed, or has any other content coding, with 415, and says so as RFC 9110, section 15.5.16, has it. */
export default fp(
  async (fastify) => {
    fastify.addHook('preParsing', (request, reply, payload, done) => {
      const coding = request.headers['content-encoding'] || 'identity'
      // Where no body is asked for, none is read.
      if (coding.toLowerCase() === 'identity' || !request.routeOptions.schema?.body) return done(null, payload)
      reply.header('accept-encoding', 'identity')
      done(httpErrors.unsupportedMediaType())
    })
  },
  { name: 'content-coding' }
)
