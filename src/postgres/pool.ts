import { setTimeout as pause } from 'node:timers/promises'
import pLimit from 'p-limit'
import { ApiError } from '../runtime/error-catalogue.ts'
import { createCoalescer } from './coalesce.ts'
import { openConnections } from './connections.ts'
import {
  isConnectionBroken,
  isConnectionLost,
  isLockedOut,
  isNotificationQueueFull,
  isReferenceGone,
  type Sql
} from './postgres-client.ts'

const MAX_CONNECTIONS = 10
/** Queries that wait or run, except those of batches but including those whose callers have left: more than may call at once. */
const MAX_QUERIES = 1000
/** How often a query is tried again when its connection broke, and when it was undone because of a lock: it may have waited long. */
const RETRIES = 3
const RETRIES_OF_LOCKED = 1
/**
 * Milliseconds before it is tried again, and twice as many each time. At once would be too early after a deadlock: whoever else is in
 * it is still being woken.
 */
const PAUSE = 50

type Rows = readonly (object | undefined)[]
type Values = Parameters<Sql>[1][]
type Query = <T extends Rows>(query: TemplateStringsArray, ...values: Values) => Promise<T>

/** Is told of the queries. */
export interface Observer {
  /** @param isOk false when the query failed, for whatever reason */
  answered: (seconds: number, isOk: boolean) => void
  /** So many items were asked for with one query. */
  batched: (size: number) => void
}

const NOBODY: Observer = { answered() {}, batched() {} }

/** Begins a query when there is a connection for it. */
type Slot = <T>(query: () => Promise<T>) => Promise<T>

export type Pool = ReturnType<typeof createPool>

/**
 * Connections to the database, opened when they are needed, that survive whatever becomes of it.
 *
 * postgres.js by itself waits for ever for a connection that has gone silent, and after some ways of breaking it uses one
 * again that can do no more (https://github.com/porsager/postgres/pull/1209, 1214, 1215). So with the first connection that
 * is lost all are thrown away, and the next query begins anew.
 *
 * @param options.isPooled whether the URL is that of PgBouncer in transaction mode
 */
export function createPool(url: string, { isPooled = false, observer = NOBODY } = {}) {
  const open = () => openConnections(url, { max: MAX_CONNECTIONS, isPooled })
  let current = open()
  let isEnded = false
  // Any more would wait inside postgres.js, from where nothing can be taken back.
  const limit = pLimit(MAX_CONNECTIONS)
  let queries = 0

  function discard(connections: typeof current) {
    if (connections === current && !isEnded) current = open()
    connections.discard()
  }

  /** PostgreSQL looks what of its queue everybody has read when it adds to it, which it cannot while that is full, or when it is asked. */
  function emptyQueue({ sql, answerOf }: typeof current) {
    answerOf(sql`select pg_notification_queue_usage()`).catch(() => {})
  }

  function run<T extends Rows>(signal: AbortSignal | undefined, query: TemplateStringsArray, values: Values) {
    signal?.throwIfAborted()
    const connections = current
    const began = performance.now()
    const answered = (isOk: boolean) => observer.answered((performance.now() - began) / 1000, isOk)
    return connections.answerOf(connections.sql<T>(query, ...values)).then(
      (rows) => {
        answered(true)
        return rows
      },
      (error) => {
        answered(false)
        if (isConnectionLost(error)) discard(connections)
        if (isNotificationQueueFull(error)) emptyQueue(connections)
        throw error
      }
    )
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
   * A tag for a query that runs once. When `signal` aborts, nobody waits for the answer any more: the query fails with the
   * signal's reason, and what was not sent to the database by then never will be, so that it cannot undo what was
   * acknowledged later. What PostgreSQL undid because of a lock is done anew. 503 when too many wait already.
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

  /** The same for what may be done twice: when the connection broke, it is tried again. */
  const queryIdempotent =
    <T extends Rows>(signal?: AbortSignal, slot: Slot = limit) =>
    (text: TemplateStringsArray, ...values: Values): Promise<T> =>
      retry(() => query<T>(signal, slot)(text, ...values), isConnectionBroken, RETRIES)

  /**
   * The same for what many ask for at once: `ask` answers several items with one query, in their order.
   *
   * @returns what asks for one item; a `signal` that aborts has the same effect as with `query`
   */
  function coalesce<Item, Answer>(ask: (items: Item[], query: Query) => Promise<Answer[]>) {
    const send: Query = (text, ...values) => run(undefined, text, values)
    const askAll = (items: Item[]) => {
      observer.batched(items.length)
      return ask(items, send)
    }
    const add = createCoalescer<Item, Answer>(askAll, { run: limit, isFatal: isConnectionLost })
    return (item: Item, signal?: AbortSignal) =>
      orAborted(
        retry(
          () => add(item, signal),
          (error) => isConnectionBroken(error) || isReferenceGone(error),
          RETRIES
        ),
        signal
      )
  }

  return {
    query,
    queryIdempotent,
    coalesce,
    /** A slot for queries that take long: `max` of those with the same one have a connection at once, so that others need not wait. */
    limitTo(max: number): Slot {
      const few = pLimit(max)
      return (query) => few(() => limit(query))
    },
    /** Connections with a query under way, how many there may be, and what waits for one. */
    load: () => ({ inUse: limit.activeCount, max: MAX_CONNECTIONS, waiting: limit.pendingCount }),
    /** For fragments and values of a query: it runs none. */
    sql: current.sql,
    /** Waits a second for the queries under way; what is not done by then fails, and so does what comes after. */
    async end() {
      isEnded = true
      await current.sql.end({ timeout: 1 })
    }
  }
}

async function retry<T>(act: () => Promise<T>, isWorthIt: (error: unknown) => boolean, times: number, wait = PAUSE) {
  try {
    return await act()
  } catch (error) {
    if (times === 0 || !isWorthIt(error)) throw error
    await pauseAfter(error as Error, wait)
    return retry(act, isWorthIt, times - 1, wait * 2)
  }
}

const pauses = new WeakMap<Error, Promise<void>>()

/** One pause for all who have the same error: what failed in one statement comes together again. */
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
