import swagger from '@fastify/swagger'
import fp from 'fastify-plugin'
import { describe, type Generated } from './describe.ts'
import { createDocument } from './document.ts'
import type { Operation } from './operation.ts'

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
        const { openapiObject } = document as { openapiObject: { paths: Record<string, Record<string, object>> } }
        for (const path of Object.values(openapiObject.paths)) {
          for (const [method, call] of Object.entries(path)) {
            const generated = call as Generated
            path[method] = describe(generated, operations.get(generated.operationId) as Operation)
          }
        }
        return openapiObject
      }
    })
  },
  { name: 'openapi' }
)
