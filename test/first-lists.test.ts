import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createFirstLists, type Reader } from '../src/presence/first-lists.ts'
import { eventually } from './helper.ts'

const broadcast = (n: number) => ({ clientId: String(n), email: `peer-${n}`, json: `{"n":${n}}` })

interface Fake extends Reader {
  text: string
  isSlow: boolean
  isComplete: boolean
  isCutOff: boolean
}

/** Lists of so many peers, three to a page. */
function startLists(t: Test, { count = 7, patience = 10_000 } = {}) {
  const pages: string[] = []
  const errors: unknown[] = []
  let isAway = false
  const everyone = async (after: string | undefined) => {
    pages.push(after ?? '')
    await pause(1)
    if (isAway) throw new Error('away')
    const from = Number(after ?? -1) + 1
    const broadcasts = Array.from({ length: Math.min(3, count - from) }, (_, n) => broadcast(from + n))
    return { broadcasts, next: from + 3 < count ? String(from + 2) : null }
  }
  const lists = createFirstLists(everyone, (error) => errors.push(error), patience)
  function join(email = 'stranger') {
    const reader: Fake = {
      email,
      text: '',
      isSlow: false,
      isComplete: false,
      isCutOff: false,
      write(bytes: Buffer) {
        reader.text += bytes
      },
      isFull: () => reader.isSlow,
      complete() {
        reader.isComplete = true
      },
      cutOff() {
        reader.isCutOff = true
        lists.remove(reader)
      }
    }
    t.teardown(() => lists.remove(reader))
    lists.add(reader)
    return reader
  }
  const whole = (reader: Fake) =>
    eventually(
      async () => reader.isComplete,
      (isComplete) => isComplete
    )
  const numbersIn = ({ text }: { text: string }) => {
    t.match(text, /^event: list\n(data: .*\n)+\n$/)
    return JSON.parse(text.replaceAll(/^(event: list|data: )/gm, '')).map(({ n }: { n: number }) => n)
  }
  return {
    lists,
    pages,
    errors,
    join,
    whole,
    numbersIn,
    setAway: (is: boolean) => {
      isAway = is
    }
  }
}

t.test('everyone who comes at once has each page of one read, without itself', async (t) => {
  const { pages, join, whole, numbersIn } = startLists(t)
  const readers = ['peer-0', 'peer-4', 'peer-6', 'stranger'].map((email) => join(email))
  for (const reader of readers) await whole(reader)
  t.same(readers.map(numbersIn), [
    [1, 2, 3, 4, 5, 6],
    [0, 1, 2, 3, 5, 6],
    [0, 1, 2, 3, 4, 5],
    [0, 1, 2, 3, 4, 5, 6]
  ])
  t.same(pages, ['', '2', '5'])
})

t.test('nobody is online, or only the reader', async (t) => {
  for (const [count, email] of [
    [0, 'stranger'],
    [1, 'peer-0']
  ] as const) {
    const { join, whole, numbersIn } = startLists(t, { count })
    const reader = join(email)
    await whole(reader)
    t.same(numbersIn(reader), [])
  }
})

t.test('who reads slowly gets a page when it has read the one before, and keeps nobody waiting', async (t) => {
  const { lists, pages, join, whole, numbersIn } = startLists(t)
  const slow = join()
  slow.isSlow = true
  await eventually(
    async () => slow.text,
    (text) => text.includes('"n":2')
  )
  const quick = join()
  await whole(quick)
  t.notMatch(slow.text, '"n":3')
  t.ok(lists.has(slow))
  t.ok(lists.hasBegun(slow))
  slow.isSlow = false
  lists.drained(slow)
  await whole(slow)
  t.same(numbersIn(slow), [0, 1, 2, 3, 4, 5, 6])
  t.notOk(lists.has(slow))
  lists.drained(slow)
  t.equal(pages.length, 6)
})

t.test('who does not read a page in time is cut off', async (t) => {
  const { lists, join } = startLists(t, { patience: 50 })
  const slow = join()
  slow.isSlow = true
  await eventually(
    async () => slow.isCutOff,
    (is) => is
  )
  t.notOk(lists.has(slow))
})

t.test('no more than 64 pages wait for their readers', async (t) => {
  const { lists, pages, join, whole } = startLists(t, { count: 1000 })
  const slow = []
  for (let n = 0; n < 70; n++) {
    const reader = join()
    reader.isSlow = true
    slow.push(reader)
    if (n < 64) {
      await eventually(
        async () => reader.text,
        (text) => text !== ''
      )
    }
  }
  await pause(50)
  t.equal(pages.length, 64)
  const [first, ...others] = slow
  for (const reader of others.slice(0, 40)) lists.remove(reader)
  await eventually(
    async () => pages.length,
    (count) => count > 64
  )
  t.ok(first && !first.isComplete)
  for (const reader of slow) {
    reader.isSlow = false
    lists.drained(reader)
  }
  await whole(first as NonNullable<typeof first>)
})

t.test('a page that cannot be had: who has nothing yet waits, who has something is cut off', async (t) => {
  const { lists, errors, join, whole, setAway } = startLists(t)
  const begun = join()
  begun.isSlow = true
  await eventually(
    async () => lists.hasBegun(begun),
    (has) => has
  )
  setAway(true)
  begun.isSlow = false
  lists.drained(begun)
  const [waiting, gone] = [join(), join()]
  await eventually(
    async () => errors.length,
    (count) => count >= 2
  )
  lists.remove(gone)
  setAway(false)
  await whole(waiting)
  t.ok(begun.isCutOff)
  t.notOk(waiting.isCutOff)
  t.equal(gone.text, '')
})
