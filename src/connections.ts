import { connect as connectSocket, type Socket } from 'node:net'
import { connect, type Options } from './database.ts'

/** Milliseconds in which a query is answered, if need be by PostgreSQL's statement timeout, or its connection is dead. */
const SILENCE = 2400

/**
 * Connections of postgres.js, whose sockets are kept so that they can be reset when they are discarded: else the network
 * delivers later what was given up.
 */
export function openConnections(url: string, options: Options) {
  const sockets = new Set<Socket>()
  let attempts = 0
  let isDiscarded = false
  const sql = connect(url, {
    ...options,
    socket({ host, port, path }) {
      // A connection that broke while it was being opened postgres.js opens again, also when it is to end.
      if (isDiscarded) throw Object.assign(new Error('discarded'), { code: 'CONNECTION_DESTROYED' })
      const index = attempts++ % port.length
      const socket = connectSocket({ path: path as string, host: host[index] as string, port: port[index] as number })
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      // From a server that closes without a word, postgres.js would try again at once and for ever.
      socket.once('end', () => {
        if (socket.bytesRead === 0) socket.destroy(Object.assign(new Error('closed'), { code: 'ECONNRESET' }))
      })
      return Object.assign(socket, { host: host[index] }) // the name that postgres.js asks for over TLS
    }
  })

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
