import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createCoalescer } from '../../src/postgres/coalesce.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'

/** Asks the database to turn texts into numbers, and keeps the batches in which that was asked. */
async function startNumbers(t: Test) {
  const { patient, sql } = await createDatabase(t)
  const pool = createPool(patient)
  t.teardown(pool.end)
  await sql`create table numbers as select n::text as text, n as number from generate_series(1, 1000) n`
  const batches: string[][] = []
  const find = pool.coalesce(async (texts: string[], query) => {
    batches.push(texts)
    const rows = await query<{ text: string; number: number }[]>`
      select text, number from numbers where text::integer = any(${`{${texts.join(',')}}`}::integer[])`
    return texts.map((text) => rows.find((row) => row.text === text)?.number)
  })
  return { sql, batches, find }
}
const texts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => String(from + n))

t.test('items asked for at once are one statement, and each gets its own answer', async (t) => {
  const { batches, find } = await startNumbers(t)
  t.same(await Promise.all(texts(1, 50).map((text) => find(text))), texts(1, 50).map(Number))
  t.same(await Promise.all(['7', '2000', '7'].map((text) => find(text))), [7, undefined, 7])
  t.same(batches, [texts(1, 50), ['7', '2000', '7']])
})

t.test('items gather while statements run, up to a hundred per statement', async (t) => {
  const { sql, batches, find } = await startNumbers(t)
  let answers: Promise<unknown>[] = []
  await sql.begin(async (transaction) => {
    await transaction`lock table numbers`
    for (const [n, text] of ['1', '2'].entries()) {
      answers.push(find(text))
      await lockedOut(sql, n + 1)
    }
    answers = [...answers, ...texts(3, 152).map((text) => find(text))]
  })
  t.same(await Promise.all(answers), texts(1, 152).map(Number))
  t.same(batches, [['1'], ['2'], texts(3, 102), texts(103, 152)])
})

t.test('after several items at once the next ones gather, and a lone call is not delayed', async (t) => {
  const batches: number[][] = []
  const echo = async (numbers: number[]) => {
    batches.push(numbers)
    return numbers
  }
  const start = (interval: number) => createCoalescer(echo, { run: (act) => act(), isFatal: () => false, interval })
  const alone = start(2 ** 30)
  for (const number of [1, 2, 3]) t.equal(await alone(number), number)

  const together = start(500)
  await Promise.all([together(4), together(5)])
  const answers = []
  for (const number of [6, 7, 8]) {
    answers.push(together(number))
    await turn()
  }
  t.same(await Promise.all(answers), [6, 7, 8])
  t.same(batches, [[1], [2], [3], [4, 5], [6, 7, 8]])
})

t.test('an item that makes the statement fail fails alone', async (t) => {
  const { batches, find } = await startNumbers(t)
  const results = await Promise.allSettled(['1', 'two', '3'].map((text) => find(text)))
  t.match(results, [{ value: 1 }, { status: 'rejected', reason: { code: '22P02' } }, { value: 3 }])
  t.same(batches, [['1', 'two', '3'], ['1'], ['two'], ['3']])
  t.equal(await find('4'), 4)
})

t.test('an item whose caller is gone is not asked for', async (t) => {
  const { sql, batches, find } = await startNumbers(t)
  await t.rejects(find('1', AbortSignal.abort(new Error('too late'))), { message: 'too late' })
  await sql.begin(async (transaction) => {
    await transaction`lock table numbers`
    const answers = [find('1')]
    await lockedOut(sql)
    answers.push(find('2'))
    await lockedOut(sql, 2)
    const impatient = new AbortController()
    const given = find('3', impatient.signal)
    answers.push(
      find('4', impatient.signal).catch(() => 0),
      find('5')
    )
    impatient.abort(new Error('enough'))
    await t.rejects(given, { message: 'enough' })
    await transaction`commit`
    t.same(await Promise.all(answers), [1, 2, 0, 5])
  })
  t.same(batches, [['1'], ['2'], ['5']])
})

t.test('items are asked for again when the connection breaks', async (t) => {
  const { sql, batches, find } = await startNumbers(t)
  await sql.begin(async (transaction) => {
    await transaction`lock table numbers`
    const answers = ['1', '2'].map((text) => find(text))
    await eventually(
      () => sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`,
      ({ count }) => count === 1
    )
    await transaction`commit`
    t.same(await Promise.all(answers), [1, 2])
  })
  t.same(batches, [
    ['1', '2'],
    ['1', '2']
  ])
})

t.test('the number of waiting items is limited, whether or not their callers are still there', async (t) => {
  const { sql, find } = await startNumbers(t)
  const answers: Promise<unknown>[] = []
  const gone = new AbortController()
  await sql.begin(async (transaction) => {
    await transaction`lock table numbers`
    for (const [n, text] of ['1', '2'].entries()) {
      answers.push(find(text))
      await lockedOut(sql, n + 1)
    }
    const waiting = texts(1, 1000).map((text) => find(text, gone.signal))
    gone.abort(new Error('gone'))
    const refused = t.rejects(find('3'), { code: 'service_unavailable' })
    for (const { status } of await Promise.allSettled(waiting)) if (status !== 'rejected') t.fail('it waits')
    await refused
  })
  t.same(await Promise.all(answers), [1, 2])
  await eventually(
    () => find('3').catch(() => undefined),
    (answer) => answer === 3
  )
})
