import { AdminError, isBrokenPipe } from './admin-error.ts'

/**
 * Prints a result: as a line of JSON for programs, else in words.
 *
 * @throws AdminError `unread`
 */
export function print({ json }: { json: boolean }, value: unknown, words: string): Promise<void> {
  return write(`${json ? JSON.stringify(value) : words}\n`)
}

/**
 * Writes to stdout.
 *
 * @throws AdminError `unread` when nobody reads it any more, as after `head`
 */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve()
      else reject(isBrokenPipe(error) ? new AdminError('unread', 'nobody reads the output any more') : error)
    })
  })
}

/** Prints a page of a list, and on stderr where the next one begins. */
export async function printPage({ json }: { json: boolean }, page: { next: string | null }, rows: string[][]) {
  await print({ json }, page, table(rows))
  if (page.next && !json) console.error(`There are more: --after ${page.next}`)
}

/** Rows with columns of equal width, the first one with their names. */
export function table(rows: string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)))
  const line = (row: string[]) => row.map((cell, column) => cell.padEnd(widths[column] as number)).join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}

/** Names and values, one a line; null is a dash. */
export function properties(values: [string, string | number | null][]): string {
  return table(values.map(([name, value]) => [`${name}:`, harmless(String(value ?? '-'))]))
}

/** To the second, in UTC; a dash for never. */
export function time(date: Date | null): string {
  return date ? date.toISOString().replace(/\.\d+Z$/, 'Z') : '-'
}

/** Text of somebody else, without what a terminal would obey or not show. */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD')
}

/**
 * Tells how far long work is, on stderr: every 1000 on a terminal, in place, else every 10,000, a line each.
 *
 * @param what is counted
 * @returns what to call for each; `end` tells how many there were
 */
export function createProgress(what: string) {
  const { isTTY } = process.stderr
  const [every, end] = isTTY ? [1000, '\r'] : [10_000, '\n']
  let count = 0
  return {
    tick() {
      count++
      if (count % every === 0) process.stderr.write(`${count} ${what}${end}`)
    },
    end() {
      process.stderr.write(`${count} ${what}\n`)
    }
  }
}
