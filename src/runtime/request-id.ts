import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** The ids that an edge may give a request: safe in a log and in a header. */
const ID = /^[\w.:-]{1,64}$/

/** The header in which an edge sends the id of a request, and every response returns it. */
export const REQUEST_ID_HEADER = 'x-request-id'

/**
 * Makes a function that gives a request its id: the one in the edge's header if the edge is trusted and the id is valid, or else a random one.
 *
 * @param isTrustedProxy whether an address is that of a trusted edge
 */
export function createRequestIds(isTrustedProxy: (address: string) => boolean) {
  return ({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string => {
    // Node joins repeated headers with a comma, which no id contains.
    const id = headers[REQUEST_ID_HEADER]
    return typeof id === 'string' && ID.test(id) && isTrustedProxy(String(socket.remoteAddress)) ? id : randomUUID()
  }
}
