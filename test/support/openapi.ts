import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

const METHODS = ['get', 'post', 'delete']

// biome-ignore lint/suspicious/noExplicitAny: JSON, whose form the validator has checked
export type Json = any

/** A call of the description, with references resolved. */
export interface Operation {
  id: string
  method: string
  path: string
  description: string
  parameters: Json[]
  /** The media type, schema and examples of the body. */
  body: { type: string; schema: Json; examples: Record<string, { value: Json }> } | undefined
  responses: Record<string, Json>
}

export const FILE = join(import.meta.dirname, '../..', 'openapi.json')

/** Reads openapi.json, for tests of what it promises. */
export function loadDescription() {
  const document: Json = JSON.parse(readFileSync(FILE, 'utf8'))
  const resolved = (value: Json) =>
    value.$ref ? document.components.responses[value.$ref.replace('#/components/responses/', '')] : value

  const operations: Operation[] = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const { operationId, description, parameters = [], requestBody, responses } = item[method]
      const [body] = Object.entries<Json>(requestBody?.content ?? {}).map(([type, media]) => ({ type, ...media }))
      return {
        id: operationId,
        method: method.toUpperCase(),
        path,
        description,
        parameters,
        body,
        responses: Object.fromEntries(Object.entries(responses).map(([status, one]) => [status, resolved(one)]))
      }
    })
  )

  const ajv = formats.default(new Ajv.default({ strict: false, allErrors: true }))
  const { components } = document // where references lead to
  const ofHeaders = formats.default(new Ajv.default({ strict: false, coerceTypes: true }))
  return {
    document,
    operations,
    /** What is wrong with a value; empty if nothing is. */
    complaints(schema: Json, value: Json) {
      return ajv.validate({ ...schema, components }, value) ? [] : ajv.errors
    },
    /** The same for a header's text. */
    headerComplaints(schema: Json, value: string | undefined) {
      return ofHeaders.validate({ properties: { value: schema }, required: ['value'] }, { value })
        ? []
        : ofHeaders.errors
    }
  }
}

/** An example of an answer; its key is like `lookup 404 peer_not_found`. */
interface Answer {
  key: string
  status: string
  headers: Record<string, { required?: boolean; schema: Json; example?: string }>
  /** The media type, if there is content. */
  type: string | undefined
  schema: Json
  value: Json
}

/** Every example of an answer. */
export function answersOf(name: string, status: string, response: Json): Answer[] {
  const { content, headers = {} } = response
  const base = `${name} ${status}`
  if (!content) return [{ key: base, status, headers, type: undefined, schema: undefined, value: undefined }]
  return Object.entries<Json>(content).flatMap(([type, { schema, examples }]) =>
    Object.entries<Json>(examples).map(([example, { value }]) => ({
      key: `${base} ${example}`,
      status,
      headers,
      type,
      schema,
      value
    }))
  )
}
