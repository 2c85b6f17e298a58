import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Ids that an edge may give a request: safe in a log and in a header. */
const ID = /^[\w.:-]{1,64}$/

/** An edge sends the id of a request in this header, and every response returns it. */
export const REQUEST_ID_HEADER = 'x-request-id'

/** Makes a function that returns a request's id: a valid one in a trusted edge's header, or else a random one. */
export function createRequestIds(isTrustedProxy: (address: string) => boolean) {
  return ({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string => {
    // Node.js joins repeated headers with a comma, which no id contains.
    const id = headers[REQUEST_ID_HEADER]
    return typeof id === 'string' && ID.test(id) && isTrustedProxy(String(socket.remoteAddress)) ? id : randomUUID()
  }
}
