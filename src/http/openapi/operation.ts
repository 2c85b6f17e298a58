import { CALLER_ERRORS, type CallerErrorCode, ERRORS, type ErrorCode } from '../../runtime/error-catalogue.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** How the API's description describes this call. */
    operation?: Operation
  }
}

// In terms of OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), as far as they are needed.

export type Schema = Record<string, unknown>
export type Examples = Record<string, { summary?: string; value: unknown }>
export type Content = Record<string, { schema?: Schema; examples: Examples }>
export type Headers = Record<string, { description: string; required?: boolean; schema: Schema; example?: unknown }>
export type Response = { description: string; headers?: Headers; content?: Content }
export type Responses = Record<string, Response | { $ref: string }>

export interface Parameter {
  in: 'query' | 'header'
  name: string
  description: string
  schema: Schema
  examples?: Examples
}

/** A call, without what its schemas say already. */
export interface Operation {
  operationId: string
  tags: [string]
  summary: string
  /** Markdown. */
  description: string
  /** How to call it, in the shell. */
  command: string
  /** What certificate the TLS handshake has to present: `pending` is one whose e-mail address need not be confirmed yet. */
  certificate: 'registered' | 'pending' | 'optional' | 'none'
  /** Headers that it looks at. */
  headers?: Parameter[]
  /** Examples for each member of the query. */
  query?: Record<string, Examples>
  /** Examples of the body. */
  body?: Examples
  /** By status: what comes in addition to, or in place of, what every call may answer. */
  responses: Responses
}

/** What an answer looks like. Its schema is that of the route, or else `schema`. */
export function content(type: string, examples: Examples, schema?: Schema): Content {
  return { [type]: { ...(schema && { schema }), examples } }
}

/**
 * An answer with one of these errors.
 *
 * @param messages what the caller reads there in place of the catalogue's words
 */
export function errors(
  description: string,
  codes: ErrorCode[],
  { headers, messages = {} }: { headers?: Headers; messages?: Partial<Record<ErrorCode, string>> } = {}
): Response {
  return describeErrors(description, codes, { ...messagesOf(ERRORS, codes), ...messages }, headers)
}

/** The same about the certificate of the TLS handshake. */
export function callerErrors(description: string, codes: CallerErrorCode[]): Response {
  return describeErrors(description, codes, messagesOf(CALLER_ERRORS, codes))
}

function messagesOf<Code extends string>(catalogue: Record<Code, { message: string }>, codes: Code[]) {
  return Object.fromEntries(codes.map((code) => [code, catalogue[code].message]))
}

function describeErrors(
  description: string,
  names: string[],
  messages: Record<string, string>,
  headers?: Headers
): Response {
  const examples = names.map((code) => [code, { value: { error: messages[code], code } }])
  const codes = { type: 'object', properties: { code: { enum: names } } }
  return {
    description: `${description} Codes: ${names.map((name) => `\`${name}\``).join(', ')}.`,
    ...(headers && { headers }),
    content: content('application/json', Object.fromEntries(examples), {
      allOf: [{ $ref: '#/components/schemas/Error' }, codes]
    })
  }
}

/** A header that an answer always has. */
export function header(description: string, schema: Schema) {
  return { description, required: true, schema }
}
