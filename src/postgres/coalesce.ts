import { ApiError } from '../runtime/error-catalogue.ts'

/** The most items that one statement takes. */
const MAX_ITEMS = 100
/** Statements under way at once; while they are, items gather for the next. */
const MAX_UNDER_WAY = 2
/** Items that wait, including those of callers who have left: more than may call at once. */
const MAX_WAITING = 1000
/** Milliseconds. */
const PACE = 3

interface Call<Item, Answer> {
  item: Item
  signal: AbortSignal | undefined
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

interface Options {
  /** Calls its argument when there is a connection to be had. */
  run: (act: () => Promise<void>) => Promise<void>
  /** Whether an error is no item's fault. After any other, each item is tried by itself. */
  isFatal: (error: unknown) => boolean
  /** Milliseconds from the start of a statement for several items to that of the next one. */
  pace?: number
}

/**
 * Makes one statement of what is asked for in the same moment, and of what comes while the database is busy with what came
 * before: a statement for many costs little more than one for one. Where several come, so will others: those
 * wait for a moment, so that more come together. Who comes alone does not wait.
 *
 * @param ask answers several items, in their order
 * @returns what asks for one item. If `signal` aborts before the item's turn, it is never asked for, so that it cannot undo
 *   what was acknowledged later.
 * @throws 503 when as many wait as there may be
 */
export function createCoalescer<Item, Answer>(
  ask: (items: Item[]) => Promise<Answer[]>,
  { run, isFatal, pace = PACE }: Options
) {
  const waiting: Call<Item, Answer>[] = []
  let underWay = 0
  let isPlanned = false
  let earliest = 0

  function plan() {
    if (isPlanned || waiting.length === 0 || underWay === MAX_UNDER_WAY) return
    isPlanned = true
    const wait = earliest - performance.now()
    if (wait > 0) setTimeout(work, wait)
    else setImmediate(work) // after all that comes in the same turn of the event loop
  }

  async function work() {
    isPlanned = false
    underWay++
    await run(() => {
      const batch = waiting.splice(0, MAX_ITEMS)
      if (batch.length > 1) earliest = performance.now() + pace
      plan()
      return settle(batch)
    })
    underWay--
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
