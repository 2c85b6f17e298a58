import { connect as connectSocket, type Socket } from 'node:net'
import { type Database, type Host, readDatabaseUrl } from '../runtime/database-url.ts'
import { findHost } from './find-primary.ts'
import { connect, type Destination, type Options } from './postgres-client.ts'
import { secure } from './postgres-tls.ts'

/** Milliseconds in which a query is answered, if need be by PostgreSQL's statement timeout, or its connection is dead. */
const SILENCE = 2400

/**
 * Connections of postgres.js, whose sockets are kept so that they can be reset when they are discarded: else the network
 * delivers later what was given up. Of several hosts all go to the one that is as wished, until one of them breaks.
 */
export function openConnections(url: string, options: Options) {
  return openTo(readDatabaseUrl(url), options)
}

function openTo(database: Database, options: Options) {
  const { hosts, target, tls } = database
  const sockets = new Set<Socket>()
  let isDiscarded = false
  let found: Promise<Host> | undefined
  // It is never told several hosts: then it keeps errors to itself, and tries again for ever.
  const sql = connect(hosts[0].url, {
    ...options,
    ...(target && { target_session_attrs: target }),
    async socket(destination) {
      found ??= findHost(hosts, (host, signal) => ask({ ...database, hosts: [host] }, signal))
      const host = await found
      // A connection that broke while it was being opened postgres.js opens again, also when it is to end.
      if (isDiscarded) throw Object.assign(new Error('discarded'), { code: 'CONNECTION_DESTROYED' })
      const socket = open(host, destination)
      return tls ? secure(socket, host.name, tls) : socket
    }
  })

  function open({ name, port }: Host, { path }: Destination) {
    const socket = connectSocket({ path: path as string, host: name, port })
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      found = undefined
    })
    // From a server that closes without a word, postgres.js would try again at once and for ever.
    socket.once('end', () => {
      if (socket.bytesRead === 0) socket.destroy(Object.assign(new Error('closed'), { code: 'ECONNRESET' }))
    })
    return socket
  }

  function discard() {
    isDiscarded = true
    for (const socket of sockets) {
      // Only an open TCP connection; one that is being shut down would leak (https://github.com/libp2p/js-libp2p/pull/3597).
      const canBeReset = socket.remoteAddress && !socket.writableEnded
      canBeReset ? socket.resetAndDestroy() : socket.destroy()
    }
    sql.end({ timeout: 0 })
  }

  return {
    sql,
    discard,
    /** The answer of a query, without which all is discarded after a while: an open connection may lead nowhere. */
    answerOf<T>(query: Promise<T>): Promise<T> {
      const silence = setTimeout(discard, SILENCE)
      return query.finally(() => clearTimeout(silence))
    }
  }
}

/** Whether a host is as wished: postgres.js sees that, and gives a connection up that leads to another one. */
async function ask(database: Database, signal: AbortSignal) {
  const { sql, discard } = openTo(database, { max: 1 })
  signal.addEventListener('abort', discard)
  try {
    await sql`select 1`
    await sql.end()
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'CONNECTION_DESTROYED') throw error
    throw new Error(`not the ${database.target}`)
  } finally {
    signal.removeEventListener('abort', discard)
    discard()
  }
}
