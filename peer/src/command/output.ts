import type { Broadcast } from '../index.ts'

/** Prints a result: as a line of JSON for programs, else in words. */
export function print({ json }: { json: boolean }, value: unknown, words: string) {
  console.log(json ? JSON.stringify(value) : words)
}

/** Tells how things stand: for programs among the results, else beside them, on stderr. */
export function tell({ json }: { json: boolean }, event: { type: string; [member: string]: unknown }, words: string) {
  if (json) console.log(JSON.stringify(event))
  else console.error(words)
}

/** Peers as a table for people. */
export function peerTable(peers: Broadcast[]): string {
  return table([
    ['E-MAIL', 'PORT', 'ADDRESSES', 'ANNOUNCED', 'UNTIL'],
    ...peers.map(({ email, port, addresses, last_seen, expires_at }) => [
      email,
      String(port),
      addresses.join(' '),
      localTime(last_seen),
      localTime(expires_at)
    ])
  ])
}

/** Rows with columns of equal width. */
export function table(rows: string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

/** Text of somebody else, without what a terminal would obey or not show. */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => (character === '\t' ? character : '\uFFFD'))
}

function localTime(timestamp: string) {
  return new Date(timestamp).toLocaleTimeString('sv')
}
