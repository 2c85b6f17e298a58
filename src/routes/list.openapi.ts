import { TAGS } from '../openapi/document.ts'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../openapi/examples.ts'
import { content, header, type Operation, problems } from '../openapi/operation.ts'
import { UNREADABLE } from '../openapi/responses.ts'

const TAG = 'W/"cWVv8kSgJ0mXwqj3xF4rUe1yXw0pZbq8bS5mJ2d7XoA"'

const headers = {
  ETag: header('names this list, for `If-None-Match`', { type: 'string', pattern: '^W/"[A-Za-z0-9_-]{43}"$' }),
  'Cache-Control': header('whose list it is, the address does not say', { const: 'private, no-cache' })
}

export const list: Operation = {
  operationId: 'list',
  tags: [TAGS.broadcast],
  summary: 'Who is online',
  description: `Everyone but the caller: whole, or with \`limit\` in pages, each with a \`Link\` to the next one. A \`cursor\` is opaque, and stays good whoever
comes or goes meanwhile. The order is the same from call to call, and has no meaning.

The list is sent as it is read from the database. One that cannot be finished breaks off, and is not valid JSON then; a caller who
reads nothing for 10 seconds is cut off. The edge compresses with gzip. Who follows the list is better off with events.`,
  command: `${CURL_AS_BOB} $relay/broadcast/list`,
  certificate: 'registered',
  headers: [
    {
      in: 'header',
      name: 'If-None-Match',
      description: 'the `ETag` of a list that the caller has',
      schema: { type: 'string' },
      examples: { earlier: { value: TAG } }
    }
  ],
  query: {
    limit: { one: { value: '1' } },
    cursor: { 'of the page before': { value: ALICE.id } }
  },
  responses: {
    200: {
      description: 'The list, or a page of it.',
      headers: {
        ...headers,
        Link: {
          description: 'with `limit`, as long as there is a next page: its address (RFC 8288)',
          schema: { type: 'string', pattern: '^<[^>]+>; rel="next"$' },
          example: `</api/relay/broadcast/list?limit=1&cursor=${ALICE.id}>; rel="next"`
        }
      },
      content: content('application/json', { alice: { value: [BROADCAST] } })
    },
    304: { description: 'The list that the caller has still holds.', headers },
    400: problems('The query is not one for a page.', {
      invalid_limit: 'limit must be an integer from 1 to 1000',
      invalid_cursor: 'cursor must be the one in the Link of the page before',
      invalid_request: 'unknown member: page',
      ...UNREADABLE
    })
  }
}
