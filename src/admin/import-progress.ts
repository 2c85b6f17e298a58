import type { Terminal } from '../../peer/src/cli/terminal.ts'

/** Counts `what` on stderr: every 1000 on a terminal, in place, otherwise every 10,000, a line each. */
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
