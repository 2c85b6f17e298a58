import { connect as connectSocket, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { type Database, type Host, readDatabaseUrl } from '../runtime/database-url.ts'
import { connect, type Options } from './postgres-driver.ts'
import { startTls } from './postgres-tls.ts'

/** Milliseconds in which PostgreSQL answers, if only with a statement timeout; otherwise the connection is dead. */
const SILENCE = 2400
/** Milliseconds between attempts at a host, and in which the right one of several must be found: a caller is waiting. */
const SEARCH_INTERVAL = 250
const SEARCH_TIME = 1500

/**
 * A client of postgres.js that can reset its connections, so that the network does not deliver later what was given up. Of several hosts,
 * all connections go to the first that has the wanted role (primary or standby), until one breaks.
 */
export function openClient(url: string, options: Options) {
  return openTo(readDatabaseUrl(url), options)
}

function openTo(database: Database, options: Options) {
  const { hosts, target, tls } = database
  const sockets = new Set<Socket>()
  let isDiscarded = false
  let found: Promise<Host> | undefined
  // With several hosts, postgres.js would hide errors and retry forever.
  const sql = connect(hosts[0].url, {
    ...options,
    ...(target && { target_session_attrs: target }),
    async socket({ path }) {
      found ??= findHost(database)
      const host = await found
      // postgres.js retries a connection that breaks while it is opened, even when the client is ending.
      if (isDiscarded) throw Object.assign(new Error('discarded'), { code: 'CONNECTION_DESTROYED' })
      const socket = open(host, path)
      return tls ? startTls(socket, host.name, tls) : socket
    }
  })

  function open({ name, port }: Host, path: string | false) {
    const socket = connectSocket({ path: path as string, host: name, port })
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      found = undefined
    })
    // Without an error, postgres.js would retry at once and forever.
    socket.once('end', () => {
      if (socket.bytesRead === 0) socket.destroy(Object.assign(new Error('closed'), { code: 'ECONNRESET' }))
    })
    return socket
  }

  function discard() {
    isDiscarded = true
    for (const socket of sockets) {
      // Resetting any other than an open TCP connection would leak it (https://github.com/libp2p/js-libp2p/pull/3597).
      const canBeReset = socket.remoteAddress && !socket.writableEnded
      canBeReset ? socket.resetAndDestroy() : socket.destroy()
    }
    sql.end({ timeout: 0 })
  }

  return {
    sql,
    discard,
    /** The answer to a query. If there is none in time, all connections are discarded. */
    answerOf<T>(query: Promise<T>): Promise<T> {
      const silence = setTimeout(discard, SILENCE)
      return query.finally(() => clearTimeout(silence))
    }
  }
}

/**
 * The first host with the wanted role. All are asked at once, because one may be silent, and repeatedly, because a failover may be in
 * progress.
 *
 * @throws Error, `code` `DATABASE_NOT_FOUND`, that says what was wrong with each host
 */
async function findHost(database: Database): Promise<Host> {
  const { hosts } = database
  if (hosts.length === 1) return hosts[0]
  const search = new AbortController()
  const { signal } = search
  const reasons = new Map<Host, string>()

  async function askUntilRight(host: Host): Promise<Host> {
    for (;;) {
      try {
        await ask({ ...database, hosts: [host] }, signal)
        return host
      } catch (error) {
        reasons.set(host, (error as Error).message)
      }
      await pause(SEARCH_INTERVAL, undefined, { signal })
    }
  }

  async function giveUp(): Promise<never> {
    await pause(SEARCH_TIME, undefined, { signal })
    const told = hosts.map((host) => `${host.name}:${host.port} (${reasons.get(host) ?? 'no answer'})`)
    throw Object.assign(new Error(`none of the database hosts can be used: ${told.join(', ')}`), {
      code: 'DATABASE_NOT_FOUND'
    })
  }

  try {
    return await Promise.race([giveUp(), ...hosts.map(askUntilRight)])
  } finally {
    search.abort()
  }
}

/** Resolves if the host has the wanted role: otherwise postgres.js closes the connection. */
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
