import { ApiError } from '../runtime/error-catalogue.ts'

/** Items in one statement. */
const MAX_ITEMS = 100
/** Statements running at once. Meanwhile, items gather for the next one. */
const MAX_RUNNING = 2
/** Waiting items, including those of callers who have gone: more than there are requests in flight. */
const MAX_WAITING = 1000
/** Milliseconds from the start of a statement with several items to the next one. */
const INTERVAL = 3

interface Call<Item, Answer> {
  item: Item
  signal: AbortSignal | undefined
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

/**
 * Combines items that are asked for at the same moment, or while the database is busy, into one statement, which costs little more than
 * one for a single item. After several items more will follow, so those wait a moment to be combined too. A lone call is not delayed.
 *
 * @param ask answers several items, in their order
 * @param options.run calls its argument when there is a connection for it
 * @param options.isFatal whether an error is no item's fault; after any other, each item is tried alone
 * @returns a function that asks for one item, and fails with 503 if too many are waiting. An item whose `signal` aborts before it is sent
 *   never will be, so that it cannot undo what was acknowledged later.
 */
export function createCoalescer<Item, Answer>(
  ask: (items: Item[]) => Promise<Answer[]>,
  {
    run,
    isFatal,
    interval = INTERVAL
  }: { run: (act: () => Promise<void>) => Promise<void>; isFatal: (error: unknown) => boolean; interval?: number }
) {
  const waiting: Call<Item, Answer>[] = []
  let running = 0
  let isPlanned = false
  let earliest = 0

  function plan() {
    if (isPlanned || waiting.length === 0 || running === MAX_RUNNING) return
    isPlanned = true
    const wait = earliest - performance.now()
    if (wait > 0) setTimeout(work, wait)
    else setImmediate(work) // after all that arrives in this turn of the event loop
  }

  async function work() {
    isPlanned = false
    running++
    await run(() => {
      const batch = waiting.splice(0, MAX_ITEMS)
      if (batch.length > 1) earliest = performance.now() + interval
      plan()
      return settle(batch)
    })
    running--
    plan()
  }

  async function settle(batch: Call<Item, Answer>[], isLast = false): Promise<void> {
    const calls = batch.filter(({ signal }) => !signal?.aborted)
    if (calls.length === 0) return
    try {
      const answers = await ask(calls.map(({ item }) => item))
      for (const [n, { resolve }] of calls.entries()) resolve(answers[n] as Answer)
    } catch (error) {
      if (isLast || isFatal(error)) for (const { reject } of calls) reject(error)
      else for (const call of calls) await settle([call], true)
    }
  }

  return (item: Item, signal?: AbortSignal): Promise<Answer> =>
    new Promise((resolve, reject) => {
      if (waiting.length >= MAX_WAITING) throw new ApiError('service_unavailable', { message: 'too many queries wait' })
      waiting.push({ item, signal, resolve, reject })
      plan()
    })
}
