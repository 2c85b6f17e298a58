import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { callerAddress } from '../http/caller-address.ts'
import { ANNOUNCEMENT, BROADCAST, CURL_AS_BOB } from '../http/openapi-examples.ts'
import { answer, examples, header, Id, JSON_TYPE, noContent } from '../http/shared-schemas.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { validateAddresses } from './addresses.ts'
import { Broadcast, Capabilities, ObservedAddress, Port } from './broadcast-schema.ts'

/** Bytes of JSON. */
const MAX_CAPABILITIES = 4096
/** Seconds. A shorter lifetime costs much and gains nothing. */
const MIN_TTL = 60

const tags = ['Broadcast']

const Announced = Type.Object({
  broadcast_id: Id,
  expires_in: Type.Integer({ description: 'seconds for which the caller is online' }),
  observed_address: ObservedAddress
})
const ANNOUNCED = {
  broadcast_id: 'd6f019e5-b390-4509-8bd2-28feefd30ddb',
  expires_in: 3600,
  observed_address: BROADCAST.observed_address
}

function announceSchema(maxTtl: number) {
  const minTtl = Math.min(MIN_TTL, maxTtl)
  return {
    operationId: 'announce',
    tags,
    summary: 'Be online',
    description: `Says where the caller listens, for \`ttl\` seconds, or without it for as long as the tracker allows
(\`BROADCAST_TTL_SECONDS\`). Announcing again renews that and replaces what was announced; \`Reannounce-After\` says when.

\`addresses\` must be IP addresses that others can reach, public or private: no loopback, multicast or reserved ones, no host names, no
zone ids. \`0.0.0.0\` and \`::\` mean "where you see me", and are replaced; or left out, if nobody could reach that, as with a tracker on
the same machine, and refused if no other address is left. \`capabilities\` has at most 4096 bytes and 32 levels, and
is returned as it was sent; but numbers are doubles, and members named like integers come first.`,
    command: `${CURL_AS_BOB} $relay/broadcast/ready \\
  --json '{"port": 54321, "addresses": ["192.168.1.20", "2001:db8::20"], "capabilities": {"chat": true}}'`,
    body: Type.Object(
      {
        port: Port,
        addresses: Type.Array(Type.String(), {
          minItems: 1,
          maxItems: 16,
          description: '1 to 16 IP addresses, as strings'
        }),
        capabilities: Type.Optional(Capabilities),
        ttl: Type.Optional(
          Type.Integer({
            minimum: minTtl,
            maximum: maxTtl,
            description: `an integer from ${minTtl} to ${maxTtl}, in seconds`
          })
        )
      },
      {
        additionalProperties: false,
        ...examples({ all: ANNOUNCEMENT, least: { port: 54321, addresses: ['0.0.0.0'] } })
      }
    ),
    response: {
      200: answer(
        'The caller is online.',
        Announced,
        { online: ANNOUNCED },
        {
          headers: {
            'Reannounce-After': header('seconds after which to announce again: 40 to 50 % of `expires_in`', {
              type: 'integer',
              minimum: 1
            })
          }
        }
      )
    },
    errors: ['invalid_port', 'invalid_addresses', 'invalid_capabilities', 'invalid_ttl', 'invalid_request']
  } satisfies FastifySchema
}

const ownSchema = {
  operationId: 'getOwn',
  tags,
  summary: "The caller's own broadcast",
  description: 'As a lookup returns it to others.',
  command: `${CURL_AS_BOB} $relay/broadcast/ready`,
  response: { 200: answer('The caller is online.', Broadcast, { alice: BROADCAST }) },
  errors: ['not_online']
} satisfies FastifySchema

const withdrawSchema = {
  operationId: 'withdraw',
  tags,
  summary: 'Go offline',
  description: 'Succeeds whether the caller was online or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/broadcast/ready`,
  response: { 204: noContent('The caller is offline.') }
} satisfies FastifySchema

/** `/broadcast/ready`, the caller's own broadcast: `POST` announces or renews it, `GET` returns it, `DELETE` withdraws it. */
const announce: FastifyPluginAsyncTypebox<{ ttl: number }> = async (fastify, { ttl: maxTtl }) => {
  const { broadcasts } = fastify.repository

  fastify.post('/broadcast/ready', { schema: announceSchema(maxTtl) }, async (request, reply) => {
    const caller = request.caller()
    const { port, capabilities = {}, ttl = maxTtl, ...body } = request.body
    if (Buffer.byteLength(JSON.stringify(capabilities)) > MAX_CAPABILITIES) throw new ApiError('invalid_capabilities')
    const observed = callerAddress(request.ip)
    const addresses = validateAddresses(body.addresses, observed)
    const announcement = { port, addresses, observed_address: observed ?? null, capabilities, ttl }
    const { id } = await broadcasts.announce(caller, announcement)
    fastify.calls.announced()
    reply.header('reannounce-after', reannounceAfter(ttl))
    return { broadcast_id: id, expires_in: ttl, observed_address: announcement.observed_address }
  })

  fastify.get('/broadcast/ready', { schema: ownSchema }, async (request, reply) => {
    const { id } = await request.caller().identify()
    const broadcast = await broadcasts.findOwn(id, request.deadline)
    if (!broadcast) throw new ApiError('not_online')
    reply.type(JSON_TYPE)
    return broadcast
  })

  fastify.delete('/broadcast/ready', { schema: withdrawSchema }, async (request, reply) => {
    const { id } = await request.caller().identify()
    await broadcasts.withdraw(id, request.deadline)
    return reply.code(204).send()
  })
}

export default announce

/** Seconds: 40 to 50 % of the lifetime, so that a peer may miss once. Random, so that peers that came together spread out. */
export function reannounceAfter(lifetime: number): number {
  return Math.max(1, Math.floor(lifetime * (0.4 + Math.random() / 10)))
}
