import Fastify, { type FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import requestLog from '../src/http/request-log.ts'
import { serverOptions } from '../src/http/server-options.ts'
import { parseStrictJson } from '../src/http/strict-json.ts'
import { Broadcast, BroadcastSchema } from '../src/presence/broadcast-schema.ts'
import { loadConfig } from '../src/runtime/config.ts'
import { serve } from '../src/runtime/lifecycle.ts'
import { run } from '../src/runtime/main-function.ts'

/**
 * The ceiling, in place of `src/processes/api.ts`: the same Fastify, with the same log and the same way to read bodies and write answers, which
 * answers constants of the same shape whoever asks.
 */
const broadcast = {
  email: 'peer-1000@example.com',
  port: 54321,
  addresses: ['192.168.1.20', '2001:db8::20'],
  observed_address: '192.168.1.1',
  capabilities: { chat: true },
  fingerprint: 'nAHI38XEawfpiVfAipk0Fhy9Fwxd4TffgLE5Y7Mcf0g',
  last_seen: new Date(),
  expires_at: new Date()
}
const ID = '9445e585-ccbf-4606-acee-4ba8a899e2ac'

const Announced = Type.Object({
  broadcast_id: Type.String(),
  expires_in: Type.Integer(),
  observed_address: Type.String()
})
const Registered = Type.Object({ client_id: Type.String() })
const answerOf = (schema: object) => ({ schema: { response: { 200: schema } } })

await run(async () => {
  const config = await loadConfig()
  const fastify = Fastify(serverOptions(config))
  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_: FastifyRequest, body: Buffer) =>
    parseStrictJson(body)
  )
  fastify.register(requestLog)
  fastify.addSchema(BroadcastSchema)
  fastify.get('/readyz', async () => 'ready')
  fastify.post('/api/relay/register', answerOf(Registered), async () => ({ client_id: ID }))
  fastify.post('/api/relay/broadcast/ready', answerOf(Announced), async (_, reply) => {
    reply.header('reannounce-after', 1600)
    return { broadcast_id: ID, expires_in: 3600, observed_address: broadcast.observed_address }
  })
  fastify.get('/api/relay/broadcast/lookup', answerOf(Broadcast), async () => broadcast)

  // Made once, to measure only what sending so many bytes costs.
  const lists = new Map<string, Buffer>()
  fastify.get<{ Querystring: { peers: string } }>('/api/relay/broadcast/list', async ({ query: { peers } }, reply) => {
    if (!lists.has(peers)) {
      lists.set(peers, Buffer.from(JSON.stringify(Array.from({ length: Number(peers) }, () => broadcast))))
    }
    return reply.type('application/json; charset=utf-8').send(lists.get(peers))
  })
  await serve(fastify, config.HOST, config.PORT)
})
