/** The value that this share of the values does not exceed. */
export function quantile(values: number[], share: number) {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? 0
}

/** Records as a table in Markdown. */
export function toTable(records: Record<string, string | number>[]) {
  const [first] = records
  if (!first) return ''
  const line = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`
  const columns = Object.keys(first)
  return [
    line(columns),
    line(columns.map(() => '---')),
    ...records.map((record) => line(columns.map((c) => record[c] ?? '')))
  ].join('\n')
}
