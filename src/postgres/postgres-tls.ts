import { once } from 'node:events'
import { isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls'
import type { Tls } from '../runtime/database-url.ts'
import { CONNECT_TIMEOUT } from './postgres-driver.ts'

/** PostgreSQL's SSLRequest message, and the answer of a server with TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const YES = 'S'

/**
 * Starts TLS on a connection to PostgreSQL as libpq's `sslmode` does. The errors of postgres.js's `ssl` option do not say which host was
 * refused, or that it has no TLS; and it checks the certificate of an IP address for the name `localhost`.
 *
 * @throws Error, `code` `DATABASE_NOT_TRUSTED`, if the server has no TLS or its certificate is not trusted
 */
export async function startTls(socket: Socket, host: string, { mode, ca }: Tls): Promise<Socket> {
  const signal = AbortSignal.timeout(CONNECT_TIMEOUT * 1000)
  let secured: TLSSocket | undefined
  try {
    socket.write(SSL_REQUEST)
    const [answer] = await once(socket, 'data', { signal })
    // Anything after this byte is not encrypted, so it was injected.
    if (String(answer) !== YES) {
      if (mode === 'prefer') return socket
      throw refusal(host, 'it has no TLS')
    }
    secured = connect({
      socket,
      ...(!isIP(host) && { servername: host }),
      ...(ca !== undefined && { ca }),
      rejectUnauthorized: mode.startsWith('verify'),
      checkServerIdentity: (_, certificate) =>
        mode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined
    })
    await once(secured, 'secureConnect', { signal })
    return secured
  } catch (error) {
    socket.destroy()
    if (signal.aborted) throw Object.assign(new Error('no TLS in time'), { code: 'CONNECT_TIMEOUT' })
    throw secured?.authorizationError ? refusal(host, (error as Error).message) : error
  }
}

function refusal(host: string, reason: string) {
  return Object.assign(new Error(`the database at ${host} is not trusted: ${reason}`), { code: 'DATABASE_NOT_TRUSTED' })
}
