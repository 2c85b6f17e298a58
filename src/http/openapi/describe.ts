import type { Content, Examples, Operation, Parameter, Response, Responses } from './operation.ts'
import type { RESPONSES } from './responses.ts'

/** A call as @fastify/swagger describes it: what its schemas say. */
export interface Generated {
  operationId: string
  parameters?: Parameter[]
  requestBody?: { content: Content }
  responses: Record<string, { content?: Content }>
}

const SECURITY = {
  registered: [{ certificate: [] }],
  pending: [{ certificate: [] }],
  optional: [{ certificate: [] }, {}],
  none: []
}

/** The answers that refuse the certificate in the handshake. */
const REFUSED = {
  registered: { 401: shared('Unauthorized') },
  pending: { 401: shared('Unregistered') },
  optional: { 401: shared('UnreadableCertificate') },
  none: {}
}

const IN_WORDS = {
  registered: 'Present your registered certificate.',
  pending: 'Present your certificate, registered or waiting for that.',
  optional: 'A certificate may be presented.',
  none: 'No certificate is asked for.'
}

/** The call with everything that is to be said about it. */
export function describe(generated: Generated, operation: Operation) {
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

/** What every call may answer, what the operation says of its own answers, and what the schemas say of those. */
function describeResponses(generated: Generated['responses'], { certificate, body, responses }: Operation) {
  const all: Responses = {
    400: shared('Unreadable'),
    ...REFUSED[certificate],
    ...(certificate === 'registered' && { 403: shared('Unverified') }),
    ...(body && { 413: shared('PayloadTooLarge'), 415: shared('UnsupportedMediaType') }),
    429: shared('TooManyRequests'),
    500: shared('InternalError'),
    503: shared('ServiceUnavailable'),
    default: shared('Refused'),
    ...responses
  }
  return Object.fromEntries(
    Object.entries(all).map(([status, response]) => [status, withSchemas(response, generated[status]?.content)])
  )
}

function withSchemas(response: Responses[string], generated: Content = {}) {
  const { content } = response as Response
  if (!content) return response
  const media = Object.entries(content).map(([type, media]) => [type, { ...generated[type], ...media }])
  return { ...response, content: Object.fromEntries(media) }
}

function withExamples(content: Content = {}, examples: Examples) {
  return Object.fromEntries(Object.entries(content).map(([type, media]) => [type, { ...media, examples }]))
}

function shared(name: keyof typeof RESPONSES) {
  return { $ref: `#/components/responses/${name}` }
}
