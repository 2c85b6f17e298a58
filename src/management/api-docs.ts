import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyPluginAsync } from 'fastify'

/** Swagger UI's icons are `data:` URLs. */
const CONTENT_SECURITY_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'"
}

/** Nothing can be tried out, and nobody can log in: the browser has no peer's certificate. */
const UI = { layout: 'BaseLayout', supportedSubmitMethods: [] }
const STYLE = '.swagger-ui :is(.auth-wrapper, .authorization__btn, .response-col_links) { display: none }'

/** The API's description, for operators: `/openapi.json`, and `/docs/` to read. */
const docs: FastifyPluginAsync<{ document: object }> = async (fastify, { document }) => {
  await fastify.register(swagger, { mode: 'static', specification: { document: document as never } })
  await fastify.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: UI,
    staticCSP: CONTENT_SECURITY_POLICY,
    theme: { title: 'Relay Tracker API', css: [{ filename: 'relay.css', content: STYLE }] }
  })
  fastify.get('/openapi.json', async () => document)
}

export default docs
