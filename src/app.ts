import sensible from '@fastify/sensible'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import deadline from './http/deadline.ts'
import errorHandler from './http/error-handler.ts'
import loadShedding from './http/load-shedding.ts'
import openapi from './http/openapi.ts'
import queryIntegers from './http/query-integers.ts'
import requestBody from './http/request-body.ts'
import requestLog from './http/request-log.ts'
import requestMetrics from './http/request-metrics.ts'
import serverCertificateFollower from './http/server-certificate-follower.ts'
import authentication, { requireCaller } from './identity/authentication.ts'
import clientCertificate, { EDGE_FORMATS } from './identity/client-certificate.ts'
import register from './identity/register.ts'
import rotation from './identity/rotation.ts'
import emailVerification from './identity/verification/email-verification.ts'
import managementListener from './management/management-listener.ts'
import metrics from './observability/metrics.ts'
import announce from './presence/announce.ts'
import { BroadcastSchema } from './presence/broadcast-schema.ts'
import events from './presence/events.ts'
import list from './presence/list.ts'
import lookup from './presence/lookup.ts'
import peerMetrics from './presence/peer-metrics.ts'
import watchers from './presence/watchers.ts'
import repository from './repository.ts'
import type { Config } from './runtime/config.ts'

/** The whole service as one plugin, for a server made with `serverOptions`. */
async function app(fastify: FastifyInstance, { config }: { config: Config }) {
  fastify.register(sensible)
  fastify.register(metrics)
  fastify.register(requestLog)
  fastify.register(requestMetrics)
  fastify.register(errorHandler)
  fastify.register(requestBody)
  fastify.register(queryIntegers)
  fastify.register(deadline)
  fastify.register(repository, { config })
  fastify.register(peerMetrics)
  fastify.addSchema(BroadcastSchema)
  fastify.register(openapi, { publicUrl: config.mail?.publicUrl })
  fastify.register(managementListener, { config })
  fastify.register(
    clientCertificate,
    config.tls
      ? { from: 'tls-socket' }
      : {
          from: 'edge-header',
          format: EDGE_FORMATS[config.CLIENT_CERT_FORMAT],
          isTrustedProxy: config.isTrustedProxy
        }
  )
  if (config.tls) fastify.register(serverCertificateFollower, config.tls)
  fastify.register(authentication)
  fastify.register(watchers, { url: config.DATABASE_URL })

  fastify.register(
    async (relay) => {
      relay.register(loadShedding)
      relay.register(register, { proof: config.REGISTRATION_PROOF, verification: config.mail !== undefined })
      if (config.mail) relay.register(emailVerification)
      relay.register(async (peers) => {
        peers.addHook('onRequest', requireCaller)
        peers.register(rotation)
        peers.register(announce, { ttl: config.BROADCAST_TTL_SECONDS })
        peers.register(lookup)
        peers.register(list)
        peers.register(events)
      })
    },
    { prefix: '/api/relay' }
  )
}

export default fp(app, { name: 'relay-tracker' })
