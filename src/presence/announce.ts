import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { callerAddress } from '../http/caller-address.ts'
import { TAGS } from '../http/openapi/document.ts'
import { ANNOUNCEMENT, BROADCAST, CURL_AS_BOB } from '../http/openapi/examples.ts'
import { content, errors, header, type Operation } from '../http/openapi/operation.ts'
import { UNREADABLE, UNREADABLE_JSON } from '../http/openapi/responses.ts'
import { Id, JSON_TYPE } from '../http/shared-schemas.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { validateAddresses } from './addresses.ts'
import { Broadcast, Capabilities, ObservedAddress, Port } from './broadcast-schema.ts'
import { reannounceAfter } from './reannounce-after.ts'

/** Bytes of JSON. */
const MAX_CAPABILITIES = 4096
/** Seconds; a peer that comes more often than that only costs. */
const MIN_TTL = 60

const schema = (maxTtl: number) => ({
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
          minimum: Math.min(MIN_TTL, maxTtl),
          maximum: maxTtl,
          description: `an integer from ${Math.min(MIN_TTL, maxTtl)} to ${maxTtl}, in seconds`
        })
      )
    },
    { additionalProperties: false }
  ),
  response: {
    200: Type.Object({
      broadcast_id: Id,
      expires_in: Type.Integer({ description: 'seconds' }),
      observed_address: ObservedAddress
    })
  }
})

const ANNOUNCE: Operation = {
  operationId: 'announce',
  tags: [TAGS.broadcast],
  summary: 'Be online',
  description: `Says where the caller listens, for \`ttl\` seconds, or as many as the tracker grants without it. Again before that renews it, and
replaces what was announced; \`Reannounce-After\` says when.

\`addresses\` have to be reachable by others, according to IANA's registries of special-purpose addresses: private, shared, link-local and
unique local ones are accepted, and documentation addresses, which do no harm; loopback, multicast, broadcast, reserved and discard-only
ones are not, nor are NAT64, 6to4 and Teredo addresses that contain an IPv4 address that is not public, host names, or zone ids. \`0.0.0.0\`
and \`::\` mean "where you see me", and are replaced. \`capabilities\` has at most 4096 bytes and 32 levels, and is returned as it was sent;
numbers are doubles, and members whose names are integers come first.`,
  command: `${CURL_AS_BOB} $relay/broadcast/ready \\
  --json '{"port": 54321, "addresses": ["192.168.1.20", "2001:db8::20"], "capabilities": {"chat": true}}'`,
  certificate: 'registered',
  body: {
    all: { summary: 'everything', value: ANNOUNCEMENT },
    least: { summary: 'as little as may be', value: { port: 54321, addresses: ['0.0.0.0'] } }
  },
  responses: {
    200: {
      description: 'The caller is online.',
      headers: {
        'Reannounce-After': header('seconds after which to announce again: 40 to 50 % of `expires_in`', {
          type: 'integer',
          minimum: 1
        })
      },
      content: content('application/json', {
        online: {
          value: {
            broadcast_id: 'd6f019e5-b390-4509-8bd2-28feefd30ddb',
            expires_in: 3600,
            observed_address: BROADCAST.observed_address
          }
        }
      })
    },
    400: errors(
      'The body is not an announcement.',
      [
        ...(['invalid_port', 'invalid_addresses', 'invalid_capabilities', 'invalid_ttl', 'invalid_request'] as const),
        ...UNREADABLE
      ],
      { messages: UNREADABLE_JSON }
    )
  }
}

const GET_OWN: Operation = {
  operationId: 'getOwn',
  tags: [TAGS.broadcast],
  summary: "The caller's own broadcast",
  description: 'As a lookup returns it to others.',
  command: `${CURL_AS_BOB} $relay/broadcast/ready`,
  certificate: 'registered',
  responses: {
    200: {
      description: 'The caller is online.',
      content: content('application/json', { alice: { value: BROADCAST } })
    },
    404: errors('The caller is not online.', ['not_online'])
  }
}

const WITHDRAW: Operation = {
  operationId: 'withdraw',
  tags: [TAGS.broadcast],
  summary: 'Go offline',
  description: 'Whether the caller was online or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/broadcast/ready`,
  certificate: 'registered',
  responses: { 204: { description: 'The caller is offline.' } }
}

/**
 * The caller's own broadcast. `POST /broadcast/ready` puts it online for `ttl` seconds, or as many as it asks for below that;
 * again renews, and replaces what it announced. `GET` returns it, `DELETE` withdraws it.
 */
const announcing: FastifyPluginAsyncTypebox<{ ttl: number }> = async (fastify, { ttl: maxTtl }) => {
  const { broadcasts } = fastify.repository

  fastify.post(
    '/broadcast/ready',
    { schema: schema(maxTtl), config: { operation: ANNOUNCE } },
    async (request, reply) => {
      const caller = request.caller()
      const { port, capabilities = {}, ttl = maxTtl, ...body } = request.body
      checkSize(capabilities)
      const observed = callerAddress(request.ip)
      const addresses = validateAddresses(body.addresses, observed)
      const announcement = { port, addresses, observed_address: observed ?? null, capabilities, ttl }
      const { id } = await broadcasts.announce(caller, announcement)
      fastify.calls.announced()
      reply.header('reannounce-after', reannounceAfter(ttl))
      return { broadcast_id: id, expires_in: ttl, observed_address: announcement.observed_address }
    }
  )

  const own = {
    schema: { response: { 200: Broadcast } },
    config: { operation: GET_OWN }
  }
  fastify.get('/broadcast/ready', own, async (request, reply) => {
    const { id } = await request.caller().identify()
    const broadcast = await broadcasts.findOwn(id, request.deadline)
    if (!broadcast) throw new ApiError('not_online')
    reply.type(JSON_TYPE)
    return broadcast
  })

  fastify.delete('/broadcast/ready', { config: { operation: WITHDRAW } }, async (request, reply) => {
    const { id } = await request.caller().identify()
    await broadcasts.withdraw(id, request.deadline)
    return reply.code(204).send()
  })
}

export default announcing

function checkSize(capabilities: object) {
  if (Buffer.byteLength(JSON.stringify(capabilities)) > MAX_CAPABILITIES) {
    throw new ApiError('invalid_capabilities', {
      message: `capabilities must be at most ${MAX_CAPABILITIES} bytes of JSON`
    })
  }
}
