import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { newDeadline } from '../http/deadline.ts'
import { limitInFlight } from '../http/load-shedding.ts'
import { enforceMinimumRate, type MinimumRate, type MinimumRateOptions } from '../http/minimum-rate.ts'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../http/openapi-examples.ts'
import { answer, examples, header, JSON_TYPE, noContent } from '../http/shared-schemas.ts'
import { Broadcast } from './broadcast-schema.ts'
import { type Page, sizeOfNext } from './list.repository.ts'

/** Whole lists in progress at once, as many as two edges let through: each keeps two pages in memory while it is read. */
export const MAX_LISTS = 64
/** Single pages, which are small, and are still served when no more whole lists are. */
export const MAX_PAGES = 24
/** Broadcasts on the first page of a whole list, which should arrive at once. */
const FIRST_PAGE = 100
const [BEGIN, COMMA, END] = ['[', ',', ']'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]
/** Bytes of a page handed over at once: hardly more than has been read. */
const SLICE = 64 * 1024

const TAG = 'W/"cWVv8kSgJ0mXwqj3xF4rUe1yXw0pZbq8bS5mJ2d7XoA"'

const headers = {
  ETag: header('names this list, for `If-None-Match`', { type: 'string', pattern: '^W/"[A-Za-z0-9_-]{43}"$' }),
  'Cache-Control': header('each caller has a list of its own', Type.Literal('private, no-cache'))
}

const schema = {
  operationId: 'list',
  tags: ['Broadcast'],
  summary: 'Who is online',
  description: `Everyone but the caller: all at once, or with \`limit\` in pages, each with a \`Link\` to the next one. A \`cursor\` is opaque, and stays
valid no matter who comes or goes. The order is the same from call to call, and has no meaning.

The list is sent while it is read from the database. If it cannot be finished, it breaks off and is not valid JSON. A caller who reads
nothing for 10 seconds, or after 10 seconds less than 64 KiB a second on average, is disconnected. The edge compresses with gzip. To
follow the list, use events.`,
  command: `${CURL_AS_BOB} $relay/broadcast/list`,
  querystring: Type.Object(
    {
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 1000, description: 'an integer from 1 to 1000', ...examples({ one: 1 }) })
      ),
      // A client's id, which opens nothing; callers need not know.
      cursor: Type.Optional(
        Type.String({
          pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
          description: 'the one in the Link of the page before',
          ...examples({ 'of the page before': ALICE.id })
        })
      )
    },
    { additionalProperties: false }
  ),
  headers: Type.Object({
    'If-None-Match': Type.Optional(
      Type.String({ description: 'the `ETag` of a list that the caller has', ...examples({ earlier: TAG }) })
    )
  }),
  response: {
    200: answer(
      'The list, or a page of it.',
      Type.Unsafe<Buffer | Readable>(Type.Array(Broadcast)),
      { alice: [BROADCAST] },
      {
        headers: {
          ...headers,
          Link: {
            description: 'with `limit`, until the last page: the address of the next one (RFC 8288)',
            type: 'string',
            pattern: '^<[^>]+>; rel="next"$',
            example: `</api/relay/broadcast/list?limit=1&cursor=${ALICE.id}>; rel="next"`
          }
        }
      }
    ),
    304: noContent('The list that the caller has is still current.', headers)
  },
  errors: ['invalid_limit', 'invalid_cursor', ['invalid_request', 'unknown member: page']]
} satisfies FastifySchema

/**
 * `GET /broadcast/list`. A whole list is sent page by page too, each queried once the one before has been read, so that it takes little
 * memory and no database connection.
 */
const list: FastifyPluginAsyncTypebox<{ minimumRate?: MinimumRateOptions }> = async (fastify, { minimumRate }) => {
  const online = fastify.repository.list

  const limits = { lists: limitInFlight(MAX_LISTS).admit, pages: limitInFlight(MAX_PAGES).admit }
  const onRequest: typeof limits.lists = (request, ...rest) =>
    limits[(request.query as { limit?: unknown }).limit === undefined ? 'lists' : 'pages'](request, ...rest)

  fastify.get('/broadcast/list', { schema, onRequest }, async (request, reply) => {
    const client = await request.caller().identify()
    const { deadline, method, query } = request
    const { limit, cursor } = query

    // Read before the list, so that the tag never stands for a newer one.
    const tag = createTag(await online.version(deadline), client.id, request.url)
    // Weak, because nginx may compress the list; private, because every caller has its own.
    reply.headers({ etag: `W/${tag}`, 'cache-control': 'private, no-cache' })
    if (isNamedBy(request.headers['if-none-match'], tag)) return reply.code(304).send()

    const first = await online.page(client.id, cursor, limit ?? FIRST_PAGE, deadline)
    reply.type(JSON_TYPE)
    if (limit !== undefined && first.next !== null) {
      const next = new URLSearchParams({ limit: String(limit), cursor: first.next })
      reply.header('link', `<${request.routeOptions.url}?${next}>; rel="next"`)
    }
    const rate = enforceMinimumRate(reply.raw, minimumRate)
    if (limit !== undefined || first.next === null) {
      rate.add(first.json.length)
      return reply.send(Buffer.concat([BEGIN, first.json, END]))
    }
    return reply.send(Readable.from(method === 'HEAD' ? [] : wholeList(client.id, first, rate)))
  })

  async function* wholeList(clientId: string, page: Page, rate: MinimumRate) {
    yield BEGIN
    yield* slices(page, rate)
    while (page.next !== null) {
      const size = sizeOfNext(page.size, page.json.length)
      page = await rate.pause(online.page(clientId, page.next, size, newDeadline()))
      if (page.size > 0) yield COMMA
      yield* slices(page, rate)
    }
    yield END
  }
}

function* slices({ json }: Page, rate: MinimumRate) {
  for (let start = 0; start < json.length; start += SLICE) {
    const slice = json.subarray(start, start + SLICE)
    rate.add(slice.length)
    yield slice
  }
}

export default list

/** An opaque tag (RFC 9110, section 8.8.3). */
function createTag(...parts: string[]) {
  return `"${createHash('sha256').update(JSON.stringify(parts)).digest('base64url')}"`
}

/** Whether an If-None-Match header names this tag, compared weakly (RFC 9110, section 13.1.2). */
function isNamedBy(header: string | undefined, tag: string) {
  return header?.trim() === '*' || (header?.match(/"[^"]*"/g)?.includes(tag) ?? false)
}
