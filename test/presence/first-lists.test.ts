import { setImmediate as breathe, setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createFirstLists, type Reader } from '../../src/presence/first-lists.ts'
import { eventually } from '../support/eventually.ts'

/** Ids whose order is that of their numbers. */
const idOf = (n: number) => String(n).padStart(6, '0')

interface Fake extends Reader {
  text: string
  /** How many writes it takes before it is full. */
  takes: number
  isComplete: boolean
}

/** Lists of `count` peers, three to a page. */
function startLists(t: Test, { count = 7, size = 3, width = 1 } = {}) {
  const pages: string[] = []
  const errors: unknown[] = []
  let isAway = false
  let online = Array.from({ length: count }, (_, n) => n)
  let isOpen = Promise.resolve()
  const everyone = async (after: string | undefined) => {
    pages.push(after ?? '')
    const all = online.filter((n) => after === undefined || idOf(n) > after)
    await pause(1)
    await isOpen
    if (isAway) throw new Error('away')
    const broadcasts = all.slice(0, size).map((n) => ({
      clientId: idOf(n),
      email: `peer-${n}`,
      json: `{"n":${n},"x":"${'x'.repeat(width)}"}`
    }))
    return { broadcasts, next: all.length > size ? (broadcasts.at(-1)?.clientId as string) : null }
  }
  const lists = createFirstLists(everyone, (error) => errors.push(error))
  function join(clientId = 'stranger', takes = Number.POSITIVE_INFINITY) {
    const reader: Fake = {
      clientId,
      text: '',
      takes,
      isComplete: false,
      write(bytes: Buffer) {
        reader.text += bytes
        reader.takes--
      },
      isFull: () => reader.takes <= 0,
      complete() {
        reader.isComplete = true
      }
    }
    t.teardown(() => lists.remove(reader))
    lists.add(reader)
    return reader
  }
  return {
    lists,
    pages,
    errors,
    join,
    /** Resolves when its list is complete. */
    whole: (reader: Fake) =>
      eventually(
        async () => reader.isComplete,
        (isComplete) => isComplete
      ),
    /** Lets it take more writes. */
    take(reader: Fake, writes = Number.POSITIVE_INFINITY) {
      reader.takes = writes
      lists.drained(reader)
    },
    /** Resolves when it is full. */
    full: (reader: Fake) =>
      eventually(
        async () => reader.takes,
        (takes) => takes <= 0
      ),
    setAway(is: boolean) {
      isAway = is
    },
    setOnline(numbers: number[]) {
      online = numbers
    },
    /** Holds all further pages until the returned function is called. */
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>()
      isOpen = promise
      return resolve
    }
  }
}

function numbersIn({ text }: { text: string }): number[] {
  const [list] = /^event: list\n(data: .*\n)+\n$/.exec(text) ?? []
  if (list === undefined) throw new Error(`no list: ${text}`)
  return JSON.parse(list.replaceAll(/^(event: list|data: )/gm, '')).map(({ n }: { n: number }) => n)
}
const sorted = (reader: Fake) => numbersIn(reader).sort((a, b) => a - b)
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

t.test('readers that come together share each page, without themselves', async (t) => {
  const { pages, join, whole } = startLists(t)
  const readers = [idOf(0), idOf(4), idOf(6), 'stranger'].map((id) => join(id))
  for (const reader of readers) await whole(reader)
  t.same(readers.map(numbersIn), [
    [1, 2, 3, 4, 5, 6],
    [0, 1, 2, 3, 5, 6],
    [0, 1, 2, 3, 4, 5],
    [0, 1, 2, 3, 4, 5, 6]
  ])
  t.same(pages, ['', idOf(2), idOf(5)])
})

t.test('a list is empty when nobody is online, or only the reader', async (t) => {
  for (const [count, id] of [
    [0, 'stranger'],
    [1, idOf(0)]
  ] as const) {
    const { lists, join, whole } = startLists(t, { count })
    const reader = join(id)
    await whole(reader)
    t.same(numbersIn(reader), [])
    t.notOk(lists.has(reader))
  }
})

t.test('a reader that comes later begins where the others are, and ends there', async (t) => {
  const { pages, join, whole, hold } = startLists(t, { count: 12 })
  const open = hold()
  const first = join()
  await eventually(
    async () => pages.length,
    (count) => count === 1
  )
  const later = [join(), join(idOf(4)), join(idOf(1))]
  open()
  for (const reader of [first, ...later]) await whole(reader)
  t.same(numbersIn(first), upTo(12))
  t.same(later.map(numbersIn), [
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2],
    [3, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2],
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 2]
  ])
  t.same(pages, ['', idOf(2), idOf(5), idOf(8), ''])
})

t.test('no reader gets a page read before it came', async (t) => {
  const { pages, join, whole, hold, setOnline } = startLists(t, { count: 3 })
  const open = hold()
  const first = join()
  await eventually(
    async () => pages.length,
    (count) => count === 1
  )
  setOnline([7])
  const second = join()
  open()
  await whole(first)
  await whole(second)
  t.same(numbersIn(first), [0, 1, 2])
  t.same(numbersIn(second), [7])
})

t.test('a slow reader continues when it has read, and delays nobody', async (t) => {
  const { lists, pages, join, whole, full, take } = startLists(t)
  const slow = join('slow', 1)
  await full(slow)
  const quick = join()
  await whole(quick)
  t.same(sorted(quick), upTo(7))
  t.notMatch(slow.text, '"n":3')
  t.ok(lists.has(slow))
  t.ok(lists.hasBegun(slow))
  take(slow)
  await whole(slow)
  t.same(sorted(slow), upTo(7))
  t.notOk(lists.has(slow))
  t.notOk(lists.hasBegun(slow))
  lists.drained(slow)
  const count = pages.length
  await pause(20)
  t.equal(pages.length, count, 'no page is read without readers')
})

t.test('each of many readers, at any pace, gets everyone once while others come and go', async (t) => {
  const { lists, join, take, setOnline } = startLists(t, { count: 300, size: 7, width: 1500 })
  const readers = upTo(40).map((n) => join(idOf(n * 3), 1))
  let turn = 0
  for (; readers.some(({ isComplete }) => !isComplete) && turn < 20_000; turn++) {
    const reader = readers[(turn * turn + turn) % readers.length] as Fake
    if (reader.takes <= 0) take(reader, 1 + (turn % 5))
    // Peers come and go behind the pages that are already read.
    if (turn % 50 === 0) setOnline(upTo(300).concat(turn % 100 === 0 ? [1000, 1001] : []))
    if (turn % 10 === 0) await pause(1)
    if (turn % 7 === 0) for (const other of readers) if (other.takes <= 0) take(other, 1)
  }
  t.ok(readers.every(({ isComplete }) => isComplete))
  for (const [n, reader] of readers.entries()) {
    t.notOk(lists.has(reader))
    t.same(
      sorted(reader).filter((number) => number < 1000),
      upTo(300).filter((number) => number !== n * 3)
    )
    t.equal(new Set(numbersIn(reader)).size, numbersIn(reader).length)
  }
})

t.test('few pages are kept for any number of slow readers, and none loses its place', async (t) => {
  const { pages, join, whole, full, take } = startLists(t, { count: 400, size: 4, width: 9000 })
  const slow = join('slow', 2)
  await full(slow)
  const quick = join()
  await whole(quick)
  const before = pages.length
  take(slow)
  await whole(slow)
  t.same(sorted(slow), upTo(400))
  t.ok(pages.length - before > 90, 'its page was dropped, and is read again')
})

t.test('a page that cannot be read is read later', async (t) => {
  const { lists, errors, join, whole, full, take, setAway } = startLists(t)
  const begun = join('begun', 1)
  await full(begun)
  setAway(true)
  const [waiting, gone] = [join(), join()]
  await eventually(
    async () => errors.length,
    (count) => count >= 1
  )
  take(begun)
  lists.remove(gone)
  lists.remove(gone)
  setAway(false)
  await whole(waiting)
  await whole(begun)
  t.same(sorted(begun), upTo(7))
  t.equal(gone.text, '')
})

t.test('readers get a page in turns, and one that leaves before its turn gets nothing', async (t) => {
  const { lists, pages, join, whole } = startLists(t)
  const readers = upTo(250).map(() => join())
  const [first, last] = [readers[0], readers.at(-1)] as [Fake, Fake]
  const { write } = first
  first.write = (bytes) => {
    write(bytes)
    lists.remove(last)
  }
  for (const reader of readers.slice(0, -1)) await whole(reader)
  t.ok(readers.slice(0, -1).every(({ text }) => text === first.text))
  t.equal(last.text, '')
  t.equal(pages.length, 3)
})

t.test('other work gets a turn between many readers, however fast they are', async (t) => {
  const { lists, join, whole } = startLists(t, { count: 100, size: 100, width: 9000 })
  let turn = 0
  let isOver = false
  const others = (async () => {
    for (; !isOver; turn++) await breathe()
  })()
  const writes: number[] = []
  const readers = upTo(60).map(() => {
    const reader = join('stranger', 1)
    const { write } = reader
    reader.write = (bytes) => {
      write(bytes)
      writes[turn] = (writes[turn] ?? 0) + 1
      // Like a network that takes everything at once.
      process.nextTick(() => {
        reader.takes = 1
        lists.drained(reader)
      })
    }
    return reader
  })
  for (const reader of readers) await whole(reader)
  isOver = true
  await others
  t.ok(readers.every((reader) => numbersIn(reader).length === 100))
  const most = Math.max(...writes.filter((count) => count))
  t.ok(most <= 40, `${most} writes in one turn`)
})
