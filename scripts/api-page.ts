import { markdownTable } from './markdown-table.ts'

/** The parts of openapi.json that the page shows. */
interface Schema {
  properties: Record<string, Rule>
  required?: string[]
}

interface Rule {
  description: string
  allOf?: Rule[]
}

/** A member of a body, a query or the headers. */
type Member = Rule & { name: string; required: boolean; in?: string }

interface Media {
  schema: Schema
  examples: Record<string, { value: unknown }>
}

interface Response {
  $ref?: string
  description: string
  headers?: Record<string, { description: string }>
  content?: Record<string, Media>
}

interface Operation {
  tags: string[]
  summary: string
  description: string
  security: object[]
  parameters?: (Member & { schema: Omit<Rule, 'description'> })[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, Response>
}

interface Document {
  info: { description: string }
  tags: { name: string; description: string }[]
  components: { schemas: Record<string, Schema>; responses: Record<string, Response> }
  paths: Record<string, Record<string, Operation>>
}

interface Call extends Operation {
  /** `GET /broadcast/list`. */
  name: string
}

/** The page `docs/API.md`. */
export function apiPage({ info, tags, components, paths }: Document): string {
  const calls = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, name: `${method.toUpperCase()} ${path}` }))
  )
  const rows = calls.map((call) => [`[\`${call.name}\`](#${slug(call.name)})`, certificateOf(call), call.summary])
  const sections = tags.map(({ name, description }) => {
    const texts = calls.filter((call) => call.tags.includes(name)).map(describeCall)
    return [`## ${name}`, description, ...texts].join('\n\n')
  })
  return `# API

<!-- Made by \`npm run generate\` from openapi.json, with scripts/api-page.ts. -->

[PEERS.md](PEERS.md) says how a peer uses these calls, and [ERRORS.md](ERRORS.md) what each error means.
[openapi.json](../openapi.json) has all of this for programs. A running API serves its own description, with its settings in
it, on the operators' port: \`/openapi.json\`, and \`/docs/\` to read (with \`npm start\`: http://localhost:3003/docs/).

<img src="api.png" width="520" alt="The page about the API: GET /broadcast/lookup with its description, command, parameters and answer">

All calls are below \`/api/relay\`:

${markdownTable(['call', 'certificate', ''], rows)}

On the operators' port alone (\`INTERNAL_PORT\`): \`GET /livez\` (the process is alive), \`GET /readyz\` (it can serve) and
\`GET /metrics\`.

## All calls

${info.description}

**Errors** that a call may answer besides its own:

${sharedErrors(calls, components.responses).join('\n')}

## A broadcast

${membersTable(membersOf(components.schemas.Broadcast as Schema))}

${sections.join('\n\n')}
`
}

/** The errors that calls share, with their statuses. */
function sharedErrors(calls: Call[], shared: Document['components']['responses']) {
  const lines = calls.flatMap(({ responses }) =>
    Object.entries(responses).flatMap(([status, { $ref }]) => {
      const description = shared[$ref?.split('/').at(-1) ?? '']?.description
      return description ? [`- ${status === 'default' ? '' : `${status} `}${description}`] : []
    })
  )
  return [...new Set(lines)].sort()
}

function describeCall({ name, summary, description, parameters = [], requestBody, responses }: Call) {
  const [body] = Object.values(requestBody?.content ?? {})
  const members = [
    ...parameters.map(({ schema, ...parameter }) => ({ ...schema, ...parameter })),
    ...(body ? membersOf(body.schema) : [])
  ]
  const answers = Object.entries(responses).filter(([status]) => status < '400')
  const errors = Object.entries(responses).filter(([status, { content }]) => status >= '400' && content)
  return [
    `### ${name}`,
    `**${summary}.** ${description}`,
    ...(members.length > 0 ? [membersTable(members)] : []),
    ...examplesOf(requestBody),
    ...answers.flatMap(([status, answer]) => describeAnswer(status, answer)),
    ...(errors.length > 0
      ? ['Errors:', errors.map(([status, { description }]) => `- ${status} ${description}`).join('\n')]
      : [])
  ].join('\n\n')
}

/** Leaves out the headers of pages, which only browsers need. */
function describeAnswer(status: string, answer: Response) {
  if (answer.content?.['text/html']) return [`**${status}** ${answer.description}`]
  const headers = Object.entries(answer.headers ?? {}).map(([name, { description }]) => `- \`${name}\`: ${description}`)
  return [
    `**${status}** ${answer.description}`,
    ...(headers.length > 0 ? [headers.join('\n')] : []),
    ...examplesOf(answer)
  ]
}

/** The examples of JSON and events; certificates are cut short. */
function examplesOf({ content = {} }: { content?: Record<string, Media> } = {}) {
  const texts = (type: string) => Object.values(content[type]?.examples ?? {}).map(({ value }) => value)
  const json = texts('application/json').map((value) =>
    JSON.stringify(value).replaceAll(/(-----BEGIN CERTIFICATE-----).*?(-----END)/g, '$1…$2')
  )
  const events = texts('text/event-stream').map((value) => String(value).trim())
  return [
    ...(json.length > 0 ? [`\`\`\`json\n${json.join('\n')}\n\`\`\``] : []),
    ...events.map((text) => `\`\`\`text\n${text}\n\`\`\``)
  ]
}

function membersOf({ properties, required = [] }: Schema): Member[] {
  return Object.entries(properties).map(([name, schema]) => ({ ...schema, name, required: required.includes(name) }))
}

function membersTable(members: Member[]) {
  const rows = members.map(({ name, required, in: place, ...rule }) => {
    const notes = [...(place === 'header' ? ['header'] : []), ...(required ? [] : ['optional'])]
    return [`\`${name}\`${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`, meaningOf(rule)]
  })
  return markdownTable(['member', 'is'], rows)
}

/** A member's description, and those of its further rules. */
function meaningOf({ description, allOf = [] }: Rule) {
  return [...new Set([description, ...allOf.map((rule) => rule.description)])].join('; ')
}

function certificateOf({ security }: Call) {
  if (security.length === 0) return 'none'
  return security.length === 1 ? 'required' : 'optional'
}

/** The anchor that GitHub gives a heading. */
function slug(heading: string) {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')
}
