import t from 'tap'
import { reannounceAfter } from '../../src/presence/announce.ts'
import { createMissPacer } from '../../src/presence/retry-after.ts'

t.test('a peer that misses one announcement stays online', async (t) => {
  for (const lifetime of [60, 3600, 86400]) {
    const waits = Array.from({ length: 1000 }, () => reannounceAfter(lifetime))
    t.ok(Math.max(...waits) * 2 <= lifetime && Math.min(...waits) >= lifetime * 0.39)
    t.ok(new Set(waits).size > 5, 'peers spread out')
  }
  t.equal(reannounceAfter(1), 1)
})

t.test('callers that find nobody wait longer the more they are, within bounds', async (t) => {
  let seconds = 0
  const retryAfter = createMissPacer(() => seconds)
  /** Simulates misses at a rate, for a time: the shortest and the longest wait at the end. */
  const miss = (rate: number, duration: number) => {
    const end = seconds + duration
    let waits: number[] = []
    while (seconds < end) {
      seconds++
      waits = Array.from({ length: rate }, retryAfter)
    }
    return [Math.min(...waits), Math.max(...waits)] as [number, number]
  }
  const few = miss(1, 300)
  t.ok(few[0] >= 60 && few[1] <= 75, `${few}`)
  const many = miss(200, 3600)
  t.ok(many[0] > 200 && many[1] < 3600, `${many}`)
  const long = miss(200, 100_000)
  t.ok(long[0] >= 2700 && long[1] <= 3600, `${long}`)
  const again = miss(1, 100_000)
  t.ok(again[0] >= 60 && again[1] <= 75, `${again}`)
})
