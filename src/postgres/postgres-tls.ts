import { once } from 'node:events'
import { isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect } from 'node:tls'
import type { Tls } from '../runtime/database-url.ts'
import { CONNECT_TIMEOUT } from './postgres-client.ts'

/** PostgreSQL's frontend/backend protocol, 55.2.11: the question for TLS, and what answers it. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const YES = 'S'

/**
 * Puts TLS over a connection to PostgreSQL before anything else is said on it, as libpq's `sslmode` has it. postgres.js's own TLS
 * knows no authorities, no name of a host that is an IP address, and no refusal.
 *
 * @throws Error, `code` `DATABASE_NOT_TRUSTED`, when the server has no TLS or is not who it should be
 */
export async function secure(socket: Socket, host: string, { mode, ca }: Tls): Promise<Socket> {
  const ended = new AbortController()
  const end = (message: string, code: string) => {
    ended.abort(Object.assign(new Error(message), { code }))
    socket.destroy()
  }
  const timer = setTimeout(end, CONNECT_TIMEOUT * 1000, 'no TLS in time', 'CONNECT_TIMEOUT')
  socket.once('close', () => end('closed', 'ECONNRESET')).on('error', () => {})

  async function negotiate() {
    socket.write(SSL_REQUEST)
    // More than the one byte would be from somebody in between, and be taken for what came over TLS.
    const [answer] = await once(socket, 'data', ended)
    if (String(answer) === YES) return shakeHands(socket, host, { mode, ca }, ended)
    if (mode === 'prefer') return socket
    throw refusal(host, 'it has no TLS')
  }

  function giveUp(error: { code?: unknown }): never {
    socket.destroy()
    throw error.code === 'ABORT_ERR' ? ended.signal.reason : error
  }

  return negotiate()
    .catch(giveUp)
    .finally(() => clearTimeout(timer))
}

async function shakeHands(socket: Socket, host: string, { mode, ca }: Tls, ended: AbortController) {
  const secured = connect({
    socket,
    ...(!isIP(host) && { servername: host }),
    ...(ca !== undefined && { ca }),
    rejectUnauthorized: mode.startsWith('verify'),
    checkServerIdentity: (_, certificate) =>
      mode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined
  })
  try {
    await once(secured, 'secureConnect', ended)
    return secured
  } catch (error) {
    if (secured.authorizationError) throw refusal(host, (error as Error).message)
    throw error
  }
}

function refusal(host: string, reason: string) {
  return Object.assign(new Error(`the database at ${host} is not trusted: ${reason}`), { code: 'DATABASE_NOT_TRUSTED' })
}
