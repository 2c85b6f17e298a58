import swagger from '@fastify/swagger'
import fp from 'fastify-plugin'
import { createDocument } from '../openapi/document.ts'
import type { Content, Operation, Parameter, Responses } from '../openapi/operation.ts'
import type { RESPONSES } from '../openapi/responses.ts'

/** A call as @fastify/swagger describes it. */
interface Generated {
  operationId: string
  parameters?: Parameter[]
  requestBody?: { content: Content }
  responses: Record<string, { content?: Content }>
}

/**
 * `fastify.swagger()`: the API's description in OpenAPI 3.1, made of the schemas that validate and serialise, and of each route's
 * `config.operation`. The schemas of errors are for readers alone: nothing is serialised by them.
 */
export default fp<{ publicUrl: string | undefined }>(
  async (fastify, { publicUrl }) => {
    const operations = new Map<string, Operation>()
    await fastify.register(swagger, {
      openapi: createDocument(publicUrl) as object, // @fastify/swagger's types do not know mutualTLS
      refResolver: { buildLocalReference: ({ $id }) => String($id) },
      transform({ schema, url, route: { config } }) {
        const operation = config?.operation as Operation
        operations.set(operation.operationId, operation)
        return { url, schema: { ...schema, operationId: operation.operationId } }
      },
      transformObject(document) {
        const { openapiObject } = document as { openapiObject: { paths: Record<string, Record<string, Generated>> } }
        for (const path of Object.values(openapiObject.paths)) {
          for (const [method, generated] of Object.entries(path)) {
            const operation = operations.get(generated.operationId) as Operation
            path[method] = describe(generated, operation) as unknown as Generated
          }
        }
        return openapiObject
      }
    })
  },
  { name: 'openapi' }
)

const SECURITY = {
  registered: [{ certificate: [] }],
  pending: [{ certificate: [] }],
  optional: [{ certificate: [] }, {}],
  none: []
}

const IN_WORDS = {
  registered: 'Present your registered certificate.',
  pending: 'Present your certificate, registered or waiting for that.',
  optional: 'A certificate may be presented.',
  none: 'No certificate is asked for.'
}

function describe(generated: Generated, operation: Operation) {
  const { operationId, tags, summary, description, command, certificate, headers = [], query, body } = operation
  const members = (generated.parameters ?? []).map((member) => ({ ...member, examples: query?.[member.name] }))
  const parameters = [...members, ...headers]
  return {
    operationId,
    tags,
    summary,
    description: `${description}\n\n${IN_WORDS[certificate]}\n\n\`\`\`sh\n${command}\n\`\`\``,
    security: SECURITY[certificate],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content: withExamples(generated.requestBody?.content, body) } }),
    responses: describeResponses(generated.responses, operation)
  }
}

/** What the schemas say of the answers, what the operation says of them, and what every call may answer. */
function describeResponses(generated: Generated['responses'], { certificate, body, responses }: Operation) {
  const all: Responses = {
    400: shared('Unreadable'),
    401: shared(certificate === 'registered' || certificate === 'pending' ? 'Unauthorized' : 'InvalidCertificate'),
    ...(certificate === 'registered' && { 403: shared('Unverified') }),
    ...(body && { 413: shared('PayloadTooLarge'), 415: shared('UnsupportedMediaType') }),
    429: shared('TooManyRequests'),
    500: shared('InternalError'),
    503: shared('ServiceUnavailable'),
    default: shared('Refused'),
    ...responses
  }
  return Object.fromEntries(
    Object.entries(all).map(([status, response]) => {
      if (!('content' in response)) return [status, response]
      const content = Object.entries(response.content ?? {}).map(([type, media]) => [
        type,
        { ...generated[status]?.content?.[type], ...media }
      ])
      return [status, { ...response, content: Object.fromEntries(content) }]
    })
  )
}

function withExamples(content: Content = {}, examples: Operation['body'] = {}) {
  return Object.fromEntries(Object.entries(content).map(([type, media]) => [type, { ...media, examples }]))
}

function shared(name: keyof typeof RESPONSES) {
  return { $ref: `#/components/responses/${name}` }
}
