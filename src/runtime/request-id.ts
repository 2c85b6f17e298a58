import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** What an edge may call a request, so that it can stand in a log and in a header as it is. */
const ID = /^[\w.:-]{1,64}$/

/** The header by which an edge names a request, and every answer tells its name. */
export const REQUEST_ID_HEADER = 'x-request-id'

/**
 * How a request gets its id: from the edge's header, if the edge is trusted and it is one id of at most 64 letters, digits and
 * `_.:-`; else a random one.
 *
 * @param isTrustedProxy whether what this address sends is believed
 */
export function createRequestIds(isTrustedProxy: (address: string) => boolean) {
  return ({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string => {
    // Node joins a repeated header with a comma, which no id has.
    const id = headers[REQUEST_ID_HEADER]
    return typeof id === 'string' && ID.test(id) && isTrustedProxy(String(socket.remoteAddress)) ? id : randomUUID()
  }
}
