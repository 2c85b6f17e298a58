import { httpErrors } from '@fastify/sensible'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { parseStrictJson } from './strict-json.ts'

/** Reads bodies as strict JSON, and refuses compressed ones with 415 and `Accept-Encoding` (RFC 9110, section 15.5.16). */
export default fp(
  async (fastify) => {
    // Many clients send a Content-Type with every request, even without a body.
    fastify.addHttpMethod('DELETE', { hasBody: false, overrideExisting: true })
    fastify.removeAllContentTypeParsers()
    fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_: FastifyRequest, body: Buffer) =>
      parseStrictJson(body)
    )
    fastify.addHook('preParsing', (request, reply, payload, done) => {
      const coding = request.headers['content-encoding'] || 'identity'
      // Without a schema for it, the body is not read.
      if (coding.toLowerCase() === 'identity' || !request.routeOptions.schema?.body) return done(null, payload)
      reply.header('accept-encoding', 'identity')
      done(httpErrors.unsupportedMediaType())
    })
  },
  { name: 'request-body' }
)
