import type { Terminal } from '../../peer/src/cli/terminal.ts'

/** Counts on stderr: on a terminal every 1000, in place; otherwise every 10,000, on a new line. */
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
