/** Characters. */
const MAX_LINE = 64 * 1024

/**
 * The lines of a text, without their ends.
 *
 * @throws Error for a line of more than 64 Ki characters
 */
export async function* lines(chunks: AsyncIterable<string>): AsyncGenerator<string, void> {
  let rest = ''
  for await (const chunk of chunks) {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() as string
    if (rest.length > MAX_LINE) throw new Error('a line is too long')
    for (const line of parts) yield line.replace(/\r$/, '')
  }
  if (rest) yield rest
}
