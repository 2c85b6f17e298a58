/** Rows with columns of equal width. */
export function table(rows: string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)))
  const line = (row: string[]) => row.map((cell, column) => cell.padEnd(widths[column] as number)).join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}

/** A text of somebody else's without characters that a terminal would obey or hide. */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => (character === '\t' ? character : '\uFFFD'))
}
