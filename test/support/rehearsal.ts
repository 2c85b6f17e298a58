import type { Test } from 'tap'
import { ALICE, NEXT, TOKEN } from '../../src/http/openapi-examples.ts'
import { type Call, type Reply, send } from './http-client.ts'
import { answersOf, type Json, loadDescription, type Operation } from './openapi.ts'
import { createPeer, type Peer, signRotation } from './peers.ts'

/** Headers that any answer may have. */
const HEADERS_OF_HTTP = [
  ...['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'server', 'transfer-encoding', 'vary'],
  'x-request-id'
]

/** How an operation is called. `body` and the members of `query` and `headers` name an example, or are sent as they are. */
export interface Request extends Call {
  /** Where the API is. */
  to?: string
  query?: Record<string, string>
}

/**
 * Sends the examples for real, and compares the answers. Peers with their own certificates and keys take the places of the examples'.
 *
 * @param edge where the API is, unless a request says otherwise
 */
export async function rehearse(edge: string) {
  const { document, operations, complaints, headerComplaints } = loadDescription()
  const [alice, next, bob, dave] = (await Promise.all(
    ['alice', 'alice', 'bob', 'dave'].map((name) => createPeer(name))
  )) as [Peer, Peer, Peer, Peer]
  const actual = new Map([
    [ALICE.certificate, alice.certificate],
    [ALICE.fingerprint, alice.fingerprint],
    [NEXT.certificate, next.certificate],
    [NEXT.fingerprint, next.fingerprint],
    [NEXT.signature, signRotation(alice, next)]
  ])

  const answers = new Map(
    [
      ...operations.flatMap(({ id, responses: { default: _, ...responses } }) =>
        Object.entries(responses).flatMap(([status, response]) => answersOf(id, status, response))
      ),
      ...answersOf('any', 'default', document.components.responses.Refused)
    ].map((answer) => [answer.key, answer])
  )
  const requests = new Set(
    operations.flatMap(({ id, parameters, body }) =>
      [...parameters, { name: 'body', examples: body?.examples ?? {} }].flatMap(({ name, examples }) =>
        Object.keys(examples).map((example) => `${id} ${name} ${example}`)
      )
    )
  )

  const performed = new Set<string>()
  const find = (id: string) => operations.find((operation) => operation.id === id) as Operation

  /** What is sent for the example of that name, or the value itself. */
  function example(key: string, examples: Record<string, { value: Json }>, value: Json) {
    if (typeof value !== 'string' || !Object.hasOwn(examples, value)) return value
    requests.delete(`${key} ${value}`)
    let text = JSON.stringify(examples[value]?.value)
    for (const [from, to] of actual) text = text.replaceAll(inJson(from), inJson(to))
    return JSON.parse(text)
  }

  function call(id: string, { to = edge, query = {}, headers = {}, body, ...options }: Request = {}) {
    const { method, path, parameters, body: form } = find(id)
    const members = (given: object): [string, string][] =>
      Object.entries(given).map(([name, value]) => {
        const parameter = parameters.find((parameter) => parameter.name.toLowerCase() === name)
        return [name, parameter ? example(`${id} ${parameter.name}`, parameter.examples, value) : value]
      })
    const question = new URLSearchParams(members(query)).toString()
    const sent = form && example(`${id} body`, form.examples, body)
    const isForm = form?.type !== 'application/json' && typeof sent === 'object'
    return send(`${to}${path}${question && '?'}${question}`, {
      method,
      headers: { ...(sent !== undefined && { 'content-type': form?.type }), ...Object.fromEntries(members(headers)) },
      body: isForm ? new URLSearchParams(sent).toString() : sent,
      ...options
    })
  }

  return {
    operations,
    alice,
    next,
    bob,
    dave,
    call,
    /** Calls an operation with its first examples. */
    callAs(id: string, as: Peer | undefined, options: Request = {}) {
      const { body, parameters } = find(id)
      const [member] = parameters.filter((parameter) => parameter.in === 'query')
      return call(id, {
        as,
        ...(body && { body: Object.keys(body.examples)[0] }),
        ...(member && { query: { [member.name]: Object.keys(member.examples)[0] as string } }),
        ...options
      })
    },
    /** From now on, this token replaces the examples'. */
    setToken: (token: string) => actual.set(TOKEN, token),
    /** Compares an answer with the example of that key: status, schema, headers and content. */
    check(t: Test, key: string, { status, headers, body }: Reply) {
      const answer = answers.get(key)
      if (!answer) return t.fail(`there is no such example: ${key}`)
      performed.add(key)
      if (answer.status !== 'default') t.equal(String(status), answer.status, `${key}: status`)
      const documented = Object.keys(answer.headers).map((name) => name.toLowerCase())
      const unheardOf = Object.keys(headers).filter(
        (name) => !HEADERS_OF_HTTP.includes(name) && !documented.includes(name)
      )
      t.same(unheardOf, [], `${key}: no other headers`)
      for (const [name, { required, schema, example }] of Object.entries(answer.headers)) {
        const value = headers[name.toLowerCase()]?.toString()
        if (required || value !== undefined) t.same(headerComplaints(schema, value), [], `${key}: ${name}`)
        if (example) t.equal(value, example, `${key}: ${name}`)
      }
      if (answer.type === undefined) return t.equal(body, '', `${key}: no content`)
      t.match(headers['content-type'], answer.type, `${key}: Content-Type`)
      t.same(complaints(answer.schema, body), [], `${key}: schema`)
      t.equal(comparable(body, actual), comparable(answer.value), `${key}: content`)
    },
    /** The examples that were not used yet. */
    untried: () => [...requests, ...[...answers.keys()].filter((key) => !performed.has(key))]
  }
}

function inJson(text: string) {
  return JSON.stringify(text).slice(1, -1)
}

/** A body as text, without what differs each time: ids, times, addresses. */
function comparable(body: Json, actual = new Map<string, string>()) {
  let text: string = typeof body === 'string' ? body : JSON.stringify(body)
  for (const [from, to] of actual) text = text.replaceAll(inJson(to), inJson(from))
  return text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
    .replaceAll(/"observed_address":"[^"]+"/g, '"observed_address":"ADDRESS"')
    .replaceAll(/retry: \d+/g, 'retry: MILLISECONDS')
}
