import type { Server } from 'node:net'
import { promisify } from 'node:util'

/** How many connections a server has now. */
export function connectionsOf(server: Server): Promise<number> {
  return promisify(server.getConnections.bind(server))()
}
