import { STATUS_CODES } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import swagger from '@fastify/swagger'
import type { FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { VERSION } from '../runtime/version.ts'
import {
  CERTIFICATES,
  type DocumentedError,
  errorResponses,
  openapiHeaders,
  REFUSED,
  type Response
} from './openapi-errors.ts'

declare module 'fastify' {
  interface FastifySchema {
    /** The certificate to present in the TLS handshake; `pending`: its e-mail address need not be confirmed yet. */
    certificate?: keyof typeof CERTIFICATES
    /** The call's own errors, besides those that all calls share. */
    errors?: readonly DocumentedError[]
    /** How to call it, in the shell. */
    command?: string
  }
}

const DESCRIPTION = `The rendezvous service by which the peers of a peer-to-peer application find each other. A peer owns a self-signed
certificate, registers it once with its e-mail address, announces where it listens, and looks others up. Peers then connect to
each other directly: the tracker carries none of their traffic, and needs no heartbeat.

**The caller** is identified by the certificate that the TLS handshake presents. It must be registered and inside its validity period
on every request, even within one connection.

**JSON** goes in and out, in UTF-8. It must mean the same to everyone ([RFC 7493](https://www.rfc-editor.org/rfc/rfc7493)): a
duplicate member, an unpaired surrogate, a number beyond a double, or more than 33 levels of nesting is \`bad_request\`. A request has 10
seconds to arrive and at most 16 KiB of body (a form 1 KiB); its address and each header may have at most 8 KiB.

**Every error** is \`{"error": "in words", "code": "for_programs"}\`, whether the API or the edge answers. The words may change, and
differ between the two; the codes stay. A call that gets 503 is not carried out later. \`HEAD\` works wherever \`GET\` does, except
for events. Every answer has an \`X-Request-Id\`, which the tracker's logs have too.

**Limits:** one address may make 100 requests a second (200 at once) and 30 registrations a minute (60 at once), and have 100
connections with a request in flight, unless the operator changes that. Anything beyond gets 429 with \`Retry-After\`.

**The examples** are what the tracker's tests send and get. The commands need \`relay\` and \`ca\` as in the README, and
certificates made by \`npm run certificate\`.`

/** Not named `Error`, which is a class of the language in most that code is generated for. */
const ERROR = {
  description: 'Every error.',
  type: 'object',
  properties: {
    error: { type: 'string', description: 'what is wrong, in words for the caller; may change' },
    code: { type: 'string', description: 'stable, for programs to compare' }
  },
  required: ['error', 'code'],
  additionalProperties: false
}

/** The errors that calls share, by status. */
const SHARED = { ...errorResponses({ body: {} }), ...errorResponses({}) }

/** Everything but the calls. */
function createDocument(publicUrl: string) {
  const responses = Object.entries(SHARED).map(([status, response]) => [nameOf(status), response])
  return {
    openapi: '3.1.1',
    info: {
      title: 'Relay Tracker',
      version: VERSION,
      description: DESCRIPTION,
      contact: { name: 'The Relay Tracker authors' },
      license: { name: 'MIT', identifier: 'MIT' }
    },
    servers: [{ url: `${publicUrl}/api/relay` }],
    tags: [
      { name: 'Registration', description: 'Whose certificate it is.' },
      { name: 'Certificate', description: 'The valid certificate, and the next one.' },
      { name: 'Broadcast', description: 'Who is online, and where.' },
      { name: 'Verified e-mail', description: 'Pages for browsers, if the operator wants e-mail addresses confirmed.' }
    ],
    components: {
      securitySchemes: {
        certificate: {
          type: 'mutualTLS',
          description: 'A self-signed certificate: the handshake proves that the caller holds its key.'
        }
      },
      schemas: { TrackerError: ERROR },
      responses: Object.fromEntries([...responses, ['Refused', REFUSED]])
    }
  }
}

interface Operation {
  responses: Record<string, Response | { $ref: string }>
  'x-errors'?: Record<string, Response>
}

/** Describes the API in OpenAPI 3.1, from the routes' schemas. `publicUrl` is where peers reach the tracker. */
export default fp<{ publicUrl: string | undefined }>(
  async (fastify, { publicUrl = 'https://localhost' }) => {
    await fastify.register(swagger, {
      openapi: createDocument(publicUrl) as object, // @fastify/swagger's types do not know mutualTLS
      refResolver: { buildLocalReference: ({ $id }) => String($id) },
      transform: ({ schema, url }) => ({ url, schema: complete(schema) }),
      transformObject(document) {
        const { openapiObject } = document as { openapiObject: { paths: Record<string, Record<string, Operation>> } }
        for (const operation of Object.values(openapiObject.paths).flatMap(Object.values)) addErrors(operation)
        return openapiObject
      }
    })
  },
  { name: 'openapi' }
)

function complete({ certificate = 'registered', command, description, ...schema }: FastifySchema) {
  const { words, security } = CERTIFICATES[certificate]
  return {
    ...schema,
    description: `${description}\n\n${words}\n\n\`\`\`sh\n${command}\n\`\`\``,
    security,
    'x-errors': errorResponses({ ...schema, certificate })
  }
}

/** Adds the errors last: Fastify would compile them in `response`, and the plugin cannot refer to a shared response. */
function addErrors(operation: Operation) {
  const { 'x-errors': errors = {}, responses } = operation
  for (const response of Object.values(responses) as Response[]) {
    if (!response.headers) continue
    // The plugin has moved everything but the descriptions into the headers' schemas.
    const flat = Object.entries(response.headers).map(([name, { schema, description }]) => [
      name,
      { ...schema, description }
    ])
    response.headers = openapiHeaders(Object.fromEntries(flat))
  }
  for (const [status, error] of Object.entries(errors)) {
    const own = responses[status] as Response | undefined
    if (own) responses[status] = combine(own, error)
    else responses[status] = isDeepStrictEqual(error, SHARED[status]) ? reference(nameOf(status)) : error
  }
  responses.default = reference('Refused')
  delete operation['x-errors']
}

function combine(own: Response, error: Response): Response {
  return { ...own, headers: { ...own.headers, ...error.headers }, content: { ...own.content, ...error.content } }
}

function reference(name: string) {
  return { $ref: `#/components/responses/${name}` }
}

function nameOf(status: string) {
  return String(STATUS_CODES[status]).replaceAll(' ', '')
}
