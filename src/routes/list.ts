import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { newDeadline } from '../plugins/deadline.ts'
import { limitTo } from '../plugins/overload.ts'
import { type Broadcasts, type Page, sizeOfNext } from '../repository/broadcasts.ts'
import { list as operation } from './list.openapi.ts'
import { Broadcast, JSON_TYPE } from './schemas.ts'

/** Lists under way at once: as many as two edges let through, since each has two pages in memory for as long as its reader takes. */
export const MAX_LISTS = 64
/** Broadcasts of the first page of the whole list, which is to be there at once. */
const FIRST_PAGE = 100
const [BEGIN, COMMA, END] = ['[', ',', ']'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]
/** Milliseconds after which a caller is cut off who reads nothing. */
const SILENCE = 10_000

const schema = {
  querystring: Type.Object(
    {
      limit: Type.Optional(
        Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$', description: 'an integer from 1 to 1000' })
      ),
      // A client's id, which opens nothing; what it is, no caller has to know.
      cursor: Type.Optional(
        Type.String({
          pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
          description: 'the one in the Link of the page before'
        })
      )
    },
    { additionalProperties: false }
  ),
  response: { 200: Type.Unsafe<Buffer | Readable>(Type.Array(Broadcast)), 304: Type.Unsafe<undefined>(Type.Null()) }
}

/**
 * `GET /broadcast/list`: everyone online but the caller. With `limit` one page of it, from `cursor` on; `Link` (RFC 8288) has
 * the next one. The whole list is sent page by page too, each asked for when the one before it has been read, so that neither
 * memory nor a connection to the database is kept for it; a page that cannot be had breaks the answer off.
 */
const list: FastifyPluginAsyncTypebox = async (fastify) => {
  const { recent } = fastify.repository

  const options = { schema, config: { operation }, onRequest: [limitTo(MAX_LISTS).hook, fastify.authenticate] }
  fastify.get('/broadcast/list', options, async (request, reply) => {
    const { client, deadline, method, query } = request
    const { limit, cursor } = query

    // Asked for before the list is, and where: so the tag never stands for anything newer than what is sent.
    const { from, version } = await recent.read(async (from) => ({ from, version: await from.version(deadline) }))
    const tag = createTag(version, client.id, request.url)
    // Weak, for nginx may compress it. Whose list it is, the address does not say.
    reply.headers({ etag: `W/${tag}`, 'cache-control': 'private, no-cache' })
    if (isNamedBy(request.headers['if-none-match'], tag)) return reply.code(304).send()

    const first = await from.page(client.id, cursor, limit === undefined ? FIRST_PAGE : Number(limit), deadline)
    reply.type(JSON_TYPE)
    if (limit !== undefined && first.next !== null) {
      const next = new URLSearchParams({ limit, cursor: first.next })
      reply.header('link', `<${request.routeOptions.url}?${next}>; rel="next"`)
    }
    if (limit !== undefined || first.next === null) return reply.send(Buffer.concat([BEGIN, first.json, END]))

    reply.raw.setTimeout(SILENCE)
    return reply.send(Readable.from(method === 'HEAD' ? [] : wholeList(from, client.id, first)))
  })

  async function* wholeList(from: Broadcasts, clientId: string, page: Page) {
    yield BEGIN
    yield page.json
    while (page.next !== null) {
      page = await from.page(clientId, page.next, sizeOfNext(page.size, page.json.length), newDeadline())
      if (page.size > 0) yield COMMA
      yield page.json
    }
    yield END
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
