import sensible from '@fastify/sensible'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CLIENT_CERTIFICATE_FORMATS } from './client-certificate-formats.ts'
import type { Config } from './config.ts'
import contentCoding from './http/content-coding.ts'
import serverCertificateFollower from './http/server-certificate-follower.ts'
import authentication from './plugins/authentication.ts'
import clientCertificate from './plugins/client-certificate.ts'
import database from './plugins/database.ts'
import deadline from './plugins/deadline.ts'
import errorHandler from './plugins/error-handler.ts'
import internalListener from './plugins/internal-listener.ts'
import metrics from './plugins/metrics.ts'
import openapi from './plugins/openapi.ts'
import overload from './plugins/overload.ts'
import peerMetrics from './plugins/peer-metrics.ts'
import requestLog from './plugins/request-log.ts'
import requestMetrics from './plugins/request-metrics.ts'
import watchers from './presence/watchers.ts'
import certificate from './routes/certificate.ts'
import emailVerification from './routes/email-verification.ts'
import events from './routes/events.ts'
import list from './routes/list.ts'
import lookup from './routes/lookup.ts'
import ready from './routes/ready.ts'
import register from './routes/register.ts'
import { BroadcastSchema } from './routes/schemas.ts'
import { parseStrictJson } from './strict-json.ts'

/** The whole service as one plugin, for a server made with `serverOptions`. */
async function app(fastify: FastifyInstance, { config }: { config: Config }) {
  fastify.register(sensible)
  // Many clients name a Content-Type with every request, also where there is no body to have one.
  fastify.addHttpMethod('DELETE', { hasBody: false, overrideExisting: true })
  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_: FastifyRequest, body: Buffer) =>
    parseStrictJson(body)
  )
  fastify.register(metrics)
  fastify.register(requestLog)
  fastify.register(requestMetrics)
  fastify.register(errorHandler)
  fastify.register(contentCoding)
  fastify.register(deadline)
  fastify.register(database, { config })
  fastify.register(peerMetrics)
  fastify.addSchema(BroadcastSchema)
  fastify.register(openapi, { publicUrl: config.mail?.publicUrl })
  fastify.register(internalListener, { config })
  fastify.register(
    clientCertificate,
    config.tls
      ? { from: 'tls-socket' }
      : {
          from: 'edge-header',
          format: CLIENT_CERTIFICATE_FORMATS[config.CLIENT_CERT_FORMAT],
          isTrustedProxy: config.isTrustedProxy
        }
  )
  if (config.tls) fastify.register(serverCertificateFollower, config.tls)
  fastify.register(authentication)
  fastify.register(watchers, { url: config.DATABASE_URL })

  fastify.register(
    async (relay) => {
      relay.register(overload)
      relay.register(register, { proof: config.REGISTRATION_PROOF, verification: config.mail !== undefined })
      if (config.mail) relay.register(emailVerification)
      relay.register(certificate)
      relay.register(ready, { ttl: config.BROADCAST_TTL_SECONDS })
      relay.register(lookup)
      relay.register(list)
      relay.register(events)
    },
    { prefix: '/api/relay' }
  )
}

export default fp(app, { name: 'relay-tracker' })
