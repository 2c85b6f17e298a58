import { setTimeout as pause } from 'node:timers/promises'
import pLimit from 'p-limit'
import { ApiError } from '../runtime/error-catalogue.ts'
import { createCoalescer } from './coalesce.ts'
import { openClient } from './postgres-client.ts'
import type { Sql } from './postgres-driver.ts'
import {
  isConnectionBroken,
  isDisconnected,
  isLockedOut,
  isNotificationQueueFull,
  isReferenceGone
} from './postgres-errors.ts'

const MAX_CONNECTIONS = 10
/** Queries waiting or running, except batches, including those of callers who have gone: more than there are requests in flight. */
const MAX_QUERIES = 1000
/** Retries after a broken connection, and after waiting for a lock, which may have taken long. */
const RETRIES = 3
const RETRIES_OF_LOCKED = 1
/** Milliseconds before the first retry, doubled for each further one. After a deadlock, the other party needs time to go on. */
const PAUSE = 50

type Rows = readonly (object | undefined)[]
type Values = Parameters<Sql>[1][]
type Query = <T extends Rows>(query: TemplateStringsArray, ...values: Values) => Promise<T>

/** Told about each query. */
interface Observer {
  /** @param isOk false when the query failed, for whatever reason */
  answered: (seconds: number, isOk: boolean) => void
  /** How many items one query asked for. */
  batched: (size: number) => void
}

/** Starts a query when there is a connection for it. */
type Slot = <T>(query: () => Promise<T>) => Promise<T>

export type Pool = ReturnType<typeof createPool>

/**
 * Connections to the database, opened when needed, that survive its failures.
 *
 * postgres.js alone waits forever for a silent connection, and reuses some broken ones (https://github.com/porsager/postgres/pull/1209,
 * 1214, 1215). So when one connection is lost, the pool discards them all.
 *
 * @param options.isPooled whether the URL is that of PgBouncer in transaction mode
 */
export function createPool(
  url: string,
  { isPooled = false, observer }: { isPooled?: boolean; observer?: Observer } = {}
) {
  const open = () => openClient(url, { max: MAX_CONNECTIONS, isPooled })
  let current = open()
  let isEnded = false
  // Queries beyond these would wait inside postgres.js, which cannot take them back.
  const limit = pLimit(MAX_CONNECTIONS)
  let queries = 0

  function discard(client: typeof current) {
    if (client === current && !isEnded) current = open()
    client.discard()
  }

  /** A full queue stays full until its usage is asked for: that makes PostgreSQL discard what all listeners have read. */
  function emptyQueue({ sql, answerOf }: typeof current) {
    answerOf(sql`select pg_notification_queue_usage()`).catch(() => {})
  }

  async function run<T extends Rows>(signal: AbortSignal | undefined, query: TemplateStringsArray, values: Values) {
    signal?.throwIfAborted()
    const client = current
    const began = performance.now()
    const answered = (isOk: boolean) => observer?.answered((performance.now() - began) / 1000, isOk)
    try {
      const rows: T = await client.answerOf(client.sql<T>(query, ...values))
      answered(true)
      return rows
    } catch (error) {
      answered(false)
      if (isDisconnected(error)) discard(client)
      if (isNotificationQueueFull(error)) emptyQueue(client)
      throw error
    }
  }

  async function admit<T>(ask: () => Promise<T>) {
    if (queries === MAX_QUERIES) throw new ApiError('service_unavailable', { message: 'too many queries wait' })
    queries++
    try {
      return await ask()
    } finally {
      queries--
    }
  }

  /**
   * A tag for a query that must not run twice. When `signal` aborts, the query fails with its reason, and is not sent any more, so that it
   * cannot undo what was acknowledged later. It is retried if PostgreSQL undid it because of a lock, and fails with 503 if too many wait.
   */
  const query =
    <T extends Rows>(signal?: AbortSignal, slot: Slot = limit) =>
    (text: TemplateStringsArray, ...values: Values): Promise<T> => {
      const attempt = () => slot(() => run<T>(signal, text, values))
      return orAborted(
        admit(() => retry(attempt, isLockedOut, RETRIES_OF_LOCKED)),
        signal
      )
    }

  /** A tag for a query that may run twice: it is also retried after the connection broke. */
  const queryIdempotent =
    <T extends Rows>(signal?: AbortSignal, slot: Slot = limit) =>
    (text: TemplateStringsArray, ...values: Values): Promise<T> =>
      retry(() => query<T>(signal, slot)(text, ...values), isConnectionBroken, RETRIES)

  /**
   * Combines what many callers ask at the same moment into one query.
   *
   * @param ask answers several items, in their order, with one query that may run twice
   * @returns a function that asks for one item; `signal` works as with `query`
   */
  function coalesce<Item, Answer>(ask: (items: Item[], query: Query) => Promise<Answer[]>) {
    const send: Query = (text, ...values) => run(undefined, text, values)
    const askAll = (items: Item[]) => {
      observer?.batched(items.length)
      return ask(items, send)
    }
    const add = createCoalescer<Item, Answer>(askAll, { run: limit, isFatal: isDisconnected })
    const isRetryable = (error: unknown) => isConnectionBroken(error) || isReferenceGone(error)
    return (item: Item, signal?: AbortSignal) =>
      orAborted(
        retry(() => add(item, signal), isRetryable, RETRIES),
        signal
      )
  }

  return {
    query,
    queryIdempotent,
    coalesce,
    /** A slot for slow queries: at most `max` of those that share it run at once, so that they do not delay others. */
    limitTo(max: number): Slot {
      const few = pLimit(max)
      return (query) => few(() => limit(query))
    },
    /** Connections with a query in flight, how many there may be, and the queries waiting for one. */
    load: () => ({ inUse: limit.activeCount, max: MAX_CONNECTIONS, waiting: limit.pendingCount }),
    /** For the fragments and values of a query: it runs none. */
    sql: current.sql,
    /** Waits a second for queries in flight. Those not answered by then fail, and so do later ones. */
    async end() {
      isEnded = true
      await current.sql.end({ timeout: 1 })
    }
  }
}

async function retry<T>(act: () => Promise<T>, isRetryable: (error: unknown) => boolean, times: number, wait = PAUSE) {
  try {
    return await act()
  } catch (error) {
    if (times === 0 || !isRetryable(error)) throw error
    await pauseAfter(error as Error, wait)
    return retry(act, isRetryable, times - 1, wait * 2)
  }
}

const pauses = new WeakMap<Error, Promise<void>>()

/** One pause for all who got the same error, so that a failed batch is asked for together again. */
function pauseAfter(error: Error, wait: number) {
  const same = pauses.get(error) ?? pause(wait)
  pauses.set(error, same)
  return same
}

function orAborted<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return answer
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
