import { connect as connectSocket, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import pLimit from 'p-limit'
import { connect, isConnectionBroken, isConnectionLost, type Sql } from './database.ts'

const MAX_CONNECTIONS = 10
/** Milliseconds in which a query is answered, if need be by PostgreSQL's statement timeout, or its connection is dead. */
const SILENCE = 2400
/** How often, and after how many milliseconds (twice as many each time), a query is tried again. */
const RETRIES = 3
const PAUSE = 50

type Rows = readonly (object | undefined)[]
type Values = Parameters<Sql>[1][]

export type Pool = ReturnType<typeof createPool>

/**
 * Connections to the database, opened when they are needed, that survive whatever becomes of it.
 *
 * postgres.js by itself waits for ever for a connection that has gone silent, and after some ways of breaking it uses one
 * again that can do no more (https://github.com/porsager/postgres/pull/1209, 1214, 1215). So with the first connection that
 * is lost all are thrown away, and the next query begins anew.
 */
export function createPool(url: string) {
  let current = open(url)
  let isEnded = false
  // Any more would wait inside postgres.js, from where nothing can be taken back.
  const limit = pLimit(MAX_CONNECTIONS)

  function discard(connections: typeof current) {
    if (connections === current && !isEnded) current = open(url)
    connections.discard()
  }

  function run<T extends Rows>(signal: AbortSignal | undefined, query: TemplateStringsArray, values: Values) {
    signal?.throwIfAborted()
    const connections = current
    const silence = setTimeout(discard, SILENCE, connections)
    const answer = connections.sql<T>(query, ...values)
    return answer
      .catch((error) => {
        if (isConnectionLost(error)) discard(connections)
        throw error
      })
      .finally(() => clearTimeout(silence))
  }

  /**
   * A tag for a query that runs once. When `signal` aborts, nobody waits for the answer any more: the query fails with the
   * signal's reason, and what was not sent to the database by then never will be, so that it cannot undo what was
   * acknowledged later.
   */
  const once =
    <T extends Rows>(signal?: AbortSignal) =>
    (query: TemplateStringsArray, ...values: Values): Promise<T> =>
      orAborted(
        limit(() => run<T>(signal, query, values)),
        signal
      )

  /** The same for what may be done twice: when the connection broke, it is tried again. */
  const persistently =
    <T extends Rows>(signal?: AbortSignal, attempt = 0) =>
    async (query: TemplateStringsArray, ...values: Values): Promise<T> => {
      try {
        return await once<T>(signal)(query, ...values)
      } catch (error) {
        if (attempt === RETRIES || !isConnectionBroken(error)) throw error
        await pause(PAUSE * 2 ** attempt)
        return persistently<T>(signal, attempt + 1)(query, ...values)
      }
    }

  return {
    once,
    persistently,
    /** For fragments and values of a query: it runs none. */
    sql: current.sql,
    /** Waits a second for the queries under way; what is not done by then fails, and so does what comes after. */
    async end() {
      isEnded = true
      await current.sql.end({ timeout: 1 })
    }
  }
}

/** One pool of postgres.js, whose sockets are kept so that they can be reset: else the network delivers later what was given up. */
function open(url: string) {
  const sockets = new Set<Socket>()
  let attempts = 0
  const sql = connect(url, {
    max: MAX_CONNECTIONS,
    socket({ host, port, path }) {
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
  return {
    sql,
    discard() {
      for (const socket of sockets) {
        // Only an open TCP connection; one that is being shut down would leak (https://github.com/libp2p/js-libp2p/pull/3597).
        const canBeReset = socket.remoteAddress && !socket.writableEnded
        canBeReset ? socket.resetAndDestroy() : socket.destroy()
      }
      sql.end({ timeout: 0 })
    }
  }
}

async function orAborted<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return answer
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([answer, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
