import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { ALICE, NEXT } from '../../src/http/openapi-examples.ts'
import { parseCertificate } from '../../src/identity/certificate.ts'
import { CALLER_ERRORS, ERRORS } from '../../src/runtime/error-catalogue.ts'
import { startApi } from '../support/api.ts'
import { send } from '../support/http-client.ts'
import { answersOf, loadDescription } from '../support/openapi.ts'
import { start } from '../support/process.ts'

/** Errors that only operators get, or that are pages. */
const ELSEWHERE = ['misdirected_request', 'invalid_token', 'unknown_link']

const { document, operations, complaints, headerComplaints } = loadDescription()

t.test('the generated files are what npm run generate writes', async (t) => {
  const dir = t.testdir({})
  t.match(await start(t, 'scripts/generate.ts', { args: [dir] }).ended, { code: 0 })
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  t.not(files.length, 0)
  for (const { parentPath, name } of files) {
    const file = relative(dir, join(parentPath, name))
    t.equal(readFileSync(join(dir, file), 'utf8'), readFileSync(file, 'utf8'), file)
  }
})

t.test('openapi.json is valid OpenAPI 3.1', async (t) => {
  const validator = new Validator()
  t.same(await validator.validate(structuredClone(document)), { valid: true })
  t.equal(validator.version, '3.1')
})

t.test('openapi.json suits code generators', async (t) => {
  t.notOk('Error' in document.components.schemas, 'a class of most languages')
  t.match(document.info.contact, { name: String })
  const limit = operations.find(({ id }) => id === 'list')?.parameters.find(({ name }) => name === 'limit')
  t.strictSame(limit.schema, { type: 'integer', minimum: 1, maximum: 1000 })
  const schemas = schemasIn(document)
  t.not(schemas.length, 0)
  const isTyped = (schema: object) => ['type', '$ref', 'allOf', 'anyOf'].some((keyword) => keyword in schema)
  // For one without, generators write `unknown`.
  t.same(
    schemas.filter((schema) => !isTyped(schema)),
    []
  )
})

t.test('an API describes itself to operators, with its own settings', async (t) => {
  const { origin, internal } = await startApi(t, { env: { BROADCAST_TTL_SECONDS: '600' } })
  const { status, body } = await send(`${internal}/openapi.json`)
  t.equal(status, 200)
  t.equal(
    body.paths['/broadcast/ready'].post.requestBody.content['application/json'].schema.properties.ttl.maximum,
    600
  )
  t.notOk(body.paths['/email/verify'], 'no pages without verified e-mail')
  t.match(await send(`${origin}/openapi.json`), { status: 404 })
  t.match(await send(`${origin}/api/relay/openapi.json`), { status: 404 })
})

t.test('the page at /docs/ loads nothing from elsewhere', async (t) => {
  const { origin, internal } = await startApi(t)
  const page = await send(`${internal}/docs/`)
  t.match(page, {
    status: 200,
    headers: { 'content-security-policy': /^default-src 'none'; script-src 'self'; style-src 'self';/ }
  })
  const parts = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, part]) => part as string)
  t.ok(parts.length > 0)
  for (const part of parts) {
    t.match(part, /^\.\/static\//)
    t.match(await send(new URL(part, `${internal}/docs/`).href), { status: 200 }, part)
  }
  t.match(await send(`${origin}/docs/`), { status: 404 })
})

t.test('every example fits its schema', async (t) => {
  for (const { id, parameters, body, responses } of operations) {
    for (const { name, schema, examples } of parameters) {
      for (const [example, { value }] of Object.entries<{ value: unknown }>(examples)) {
        t.same(complaints(schema, value), [], `${id} ${name} ${example}`)
      }
    }
    for (const [example, { value }] of Object.entries(body?.examples ?? {})) {
      t.same(complaints(body?.schema, value), [], `${id} ${example}`)
    }
    for (const [status, response] of Object.entries(responses)) {
      for (const { key, schema, value, headers } of answersOf(id, status, response)) {
        if (schema) t.same(complaints(schema, value), [], key)
        for (const [name, { schema, example }] of Object.entries(headers)) {
          if (example) t.same(headerComplaints(schema, example), [], `${key} ${name}`)
        }
      }
    }
  }
})

t.test('the certificates in the examples can be registered', async (t) => {
  for (const { certificate, fingerprint } of [ALICE, NEXT])
    t.equal(parseCertificate(certificate).fingerprint, fingerprint)
})

t.test('every error of the catalogue is documented, with its status', async (t) => {
  const codesOf = ({ content = {} }: { content?: Record<string, never> }) =>
    Object.values<{ schema: { allOf?: { properties?: { code: { enum: string[] } } }[] } }>(content).flatMap(
      ({ schema }) => (schema.allOf ?? []).flatMap(({ properties }) => properties?.code.enum ?? [])
    )
  const anyStatus = codesOf(document.components.responses.Refused)
  const documented = new Set<string>()
  for (const { id, parameters, body, responses } of operations) {
    for (const [status, response] of Object.entries(responses)) {
      for (const code of codesOf(response)) documented.add(`${status} ${code}`)
    }
    if (responses[200]?.content['text/html']) continue // its errors are pages
    const members = [...parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name)]
    for (const member of [...members, ...Object.keys(body?.schema.properties ?? {})]) {
      t.ok(codesOf(responses[400]).includes(`invalid_${member}`), `${id} invalid_${member}`)
    }
  }
  for (const [code, { status }] of [...Object.entries(ERRORS), ...Object.entries(CALLER_ERRORS)]) {
    if (ELSEWHERE.includes(code)) continue
    t.ok(documented.has(`${status} ${code}`) || anyStatus.includes(code), `${status} ${code}`)
  }
  const known = new Set([...Object.keys(ERRORS), ...Object.keys(CALLER_ERRORS)])
  for (const pair of documented) t.ok(known.has(pair.split(' ')[1] as string), pair)
})

/** Every schema, however deep within others. */
function schemasIn(part: object, name = ''): object[] {
  return Object.entries(part).flatMap(([key, value]) => {
    if (typeof value !== 'object' || value === null || ['value', 'example', 'enum', 'const'].includes(key)) return []
    const isSchema = ['schema', 'items'].includes(key) || ['schemas', 'properties', 'allOf', 'anyOf'].includes(name)
    return [...(isSchema ? [value] : []), ...schemasIn(value, key)]
  })
}
