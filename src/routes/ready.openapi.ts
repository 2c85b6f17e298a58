import { TAGS } from '../openapi/document.ts'
import { ANNOUNCEMENT, BROADCAST, CURL_AS_BOB } from '../openapi/examples.ts'
import { content, header, type Operation, problems } from '../openapi/operation.ts'
import { UNREADABLE_JSON } from '../openapi/responses.ts'

export const announce: Operation = {
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
    400: problems('The body is not an announcement.', {
      invalid_port: 'port must be an integer from 1 to 65535',
      invalid_addresses: 'addresses must be IPv4 or IPv6 literals, without a port or zone id; "example.com" is not',
      invalid_capabilities: 'capabilities must be at most 4096 bytes of JSON',
      invalid_ttl: 'ttl must be an integer from 60 to 3600, in seconds',
      invalid_request: 'unknown member: name',
      ...UNREADABLE_JSON
    })
  }
}

export const getOwn: Operation = {
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
    404: problems('The caller is not online.', { not_online: 'you are not online' })
  }
}

export const withdraw: Operation = {
  operationId: 'withdraw',
  tags: [TAGS.broadcast],
  summary: 'Go offline',
  description: 'Whether the caller was online or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/broadcast/ready`,
  certificate: 'registered',
  responses: { 204: { description: 'The caller is offline.' } }
}
