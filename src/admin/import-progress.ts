import type { Terminal } from '../../peer/src/cli/terminal.ts'

/**
 * Tells on stderr how far long work is: every 1000 on a terminal, in place, else every 10,000, a line each.
 *
 * @param what is counted
 * @returns `tick`, to be called for each, and `end`, which tells how many there were
 */
export function createProgress({ stderr }: Terminal, what: string) {
  const [every, end] = stderr.isTTY ? [1000, '\r'] : [10_000, '\n']
  let count = 0
  return {
    tick() {
      count++
      if (count % every === 0) stderr.write(`${count} ${what}${end}`)
    },
    end() {
      stderr.write(`${count} ${what}\n`)
    }
  }
}
