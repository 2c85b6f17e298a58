/** Bytes: three times the longest line that `export` writes. */
export const MAX_LINE = 80 * 1024

export interface Line {
  /** From 1. */
  number: number
  /** Undefined for a line that is too long. */
  bytes: Buffer | undefined
}

/** The lines of a file without their ends; only one line and one chunk are in memory. */
export async function* readLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line, void> {
  let number = 1
  let parts: Buffer[] = []
  let length = 0
  const line = () => ({ number: number++, bytes: length <= MAX_LINE ? Buffer.concat(parts) : undefined })
  const take = (part: Buffer) => {
    length += part.length
    if (length <= MAX_LINE) parts.push(part)
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      take(chunk.subarray(start, end))
      yield line()
      parts = []
      length = 0
      start = end + 1
    }
    take(chunk.subarray(start))
  }
  if (length > 0) yield line()
}
