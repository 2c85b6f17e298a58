import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/**
 * Checks that a port is free, before anything else is started.
 *
 * @param port 0 for any
 * @returns the port
 * @throws Error that names the port if it is taken
 */
export async function freePort(host: string, port = 0): Promise<number> {
  const server = createServer().listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw explainTaken(error, host, port)
  }
  const { port: found } = server.address() as AddressInfo
  server.close()
  return found
}

/** Says what to do about a port that is taken; returns any other error unchanged. */
export function explainTaken(error: unknown, host: string, port: number, setting = 'PORT'): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error
  return new Error(`port ${port} on ${host} is taken: end what listens there, or set ${setting} to another`)
}
