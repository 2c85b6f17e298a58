import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { eventually } from '../support/eventually.ts'
import { toTable } from '../support/figures.ts'
import { lostIn, type Outcome, repeated, startLoad } from '../support/load.ts'
import type { Stack } from '../support/stack.ts'

/** When something was broken. */
export interface Fault {
  start: number
  end: number
}

/** Milliseconds of load before each fault, of a fault whose length we choose, and of load after it. */
const BEFORE = 2000
export const LENGTH = 5000
const AFTER = 5500

/** Milliseconds within which an error has to come, and service has to be back. */
const MAX_ERROR = 3000
export const MAX_RECOVERY = 5000

interface Expected {
  /** Whether callers must or must not notice it, where that is certain. */
  isNoticed?: boolean | 'maybe'
  /** While the edge is down, calls in flight are cut off and connections are refused. */
  isEdgeGone?: boolean
  /** Whether it may cost no caller more than one call. */
  isOnce?: boolean
}

const rows: Record<string, string | number>[] = []
t.teardown(() => console.log(toTable(rows)))

/** Inflicts one fault, with calls before, during and after it, and checks what has to hold. */
export async function underLoad(
  t: Test,
  stack: Stack,
  name: string,
  inflict: () => Promise<Fault>,
  { isNoticed = true, isEdgeGone = false, isOnce = false }: Expected = {}
) {
  await t.test(name, async (t) => {
    const load = await startLoad(stack.origin)
    t.teardown(load.stop)
    await pause(BEFORE)
    const fault = await inflict()
    const isBack = ({ start, status }: Outcome) => start >= fault.end && status === 200
    await eventually(
      async () => load.outcomes.find(isBack),
      (outcome) => outcome !== undefined
    )
    await pause(Math.max(0, fault.end + AFTER - Date.now()))
    await load.stop()

    const errors = load.outcomes.filter(({ status }) => status !== 200)
    const unanswered = errors.filter(({ status }) => status === 0)
    const unavailable = errors.filter(({ status, retryAfter }) => status === 503 && Number(retryAfter) > 0)
    const others = errors.filter((error) => !unanswered.includes(error) && !unavailable.includes(error))
    const slowest = Math.max(0, ...errors.map(({ start, end }) => end - start))
    const back = (load.outcomes.find(isBack)?.end ?? Number.NaN) - fault.end
    const lastError = Math.max(0, ...errors.map(({ end }) => end - fault.end))
    const lost = await lostIn(stack, load)
    rows.push({
      fault: name,
      'lasted (s)': seconds(fault.end - fault.start),
      'answered 200': load.outcomes.length - errors.length,
      'answered 503': unavailable.length,
      'no answer': unanswered.length,
      other: others.length,
      'slowest error (s)': seconds(slowest),
      'first 200 after it (s)': seconds(back),
      'last error after it (s)': seconds(lastError),
      lost: lost.length
    })

    t.same(lost, [], 'every 200 that a caller got is in the database')
    t.same(others, [], 'every error is a 503 with Retry-After')
    if (!isEdgeGone) t.same(unanswered, [], 'every call is answered')
    if (isNoticed === true) t.ok(errors.length > 0, 'the fault was felt')
    if (isNoticed === false) t.same(errors, [], 'nobody noticed')
    if (isOnce) t.same(repeated(errors), [], 'it cost no caller more than one call')
    t.ok(slowest <= MAX_ERROR, `the slowest error took ${slowest} ms`)
    t.ok(back <= MAX_RECOVERY, `the first call was answered ${back} ms after the fault`)
    const late = errors.filter(({ end }) => end > fault.end + MAX_RECOVERY)
    t.same(late, [], `the last error came ${lastError} ms after the fault`)
  })
}

/** From the death of a container's first process until Docker has restarted it. */
export async function killed(stack: Stack, id: string) {
  return restarted(stack, id, () => stack.signal(id, 'KILL'))
}

export async function restarted(stack: Stack, id: string, act: () => Promise<unknown>): Promise<Fault> {
  const state = async () => (await stack.inspect(id))[0].State
  const { StartedAt: before } = await state()
  await act()
  const { StartedAt, FinishedAt } = await eventually(state, ({ Running, StartedAt }) => Running && StartedAt !== before)
  return { start: Date.parse(FinishedAt), end: Date.parse(StartedAt) }
}

/** @param length milliseconds between the two */
export async function between(
  begin: () => Promise<unknown>,
  end: () => Promise<unknown>,
  length = LENGTH
): Promise<Fault> {
  await begin()
  const start = Date.now()
  await pause(length)
  await end()
  return { start, end: Date.now() }
}

const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2)
