import type { Load, Timing } from './load.ts'
import { type Figures, measure } from './measure.ts'
import type { Operation } from './operations.ts'

/** All measurements of one operation of one subject. */
export interface Result {
  operation: string
  subject: string
  /** In the order of rounds: equal numbers were measured right after each other. Empty when one failed. */
  rounds: Figures[]
  failure?: string
}

/**
 * Measures all subjects of an operation one after another, in another order each round, so that whatever else the machine does affects all
 * alike. What fails once is not measured again.
 *
 * @param operations the operations of a round, made anew for each
 */
export async function measureInTurn(
  load: Load,
  rounds: number,
  timing: Timing,
  operations: (round: number) => Operation[] | Promise<Operation[]>
): Promise<Result[]> {
  const results = new Map<string, Result>()
  for (let round = 0; round < rounds; round++) {
    for (const { name, cells, meanwhile, wantsPeak } of await operations(round)) {
      const first = round % cells.length
      for (const { subject, job } of [...cells.slice(first), ...cells.slice(0, first)]) {
        const key = `${name}, ${subject.name}`
        const result = results.get(key) ?? { operation: name, subject: subject.name, rounds: [] }
        results.set(key, result)
        if (result.failure) continue
        console.error(`${process.uptime().toFixed(0).padStart(4)} s: round ${round + 1} of ${rounds}: ${key}`)
        try {
          const [figures] = await Promise.all([measure(load, subject, job, timing, wantsPeak), meanwhile?.()])
          result.rounds.push(figures)
        } catch (error) {
          result.failure = (error as Error).message
          result.rounds = []
          console.error(`failed: ${key}: ${result.failure}`)
        }
      }
    }
  }
  return [...results.values()]
}
