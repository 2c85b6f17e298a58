import { print, properties } from './terminal-output.ts'
import { type CommonOptions, verb, withDatabase } from './verb.ts'

/** `stats`: how many of what. */
export const stats = verb('stats', 'Count clients, who is online, and what is pending', 'stats', 'stats --json').action(
  (options: CommonOptions) =>
    withDatabase(async (administration) => {
      const counts = await administration.stats()
      const rows = Object.entries(counts).map(([name, count]) => [name.replaceAll('_', ' '), count])
      await print(options, counts, properties(rows as [string, number][]))
    })
)
