import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

interface Range {
  startOffset: number
  endOffset: number
  count: number
}

/** What NODE_V8_COVERAGE makes a process write. */
interface Report {
  result: { url: string; functions: { ranges: Range[] }[] }[]
}

/**
 * What the processes of a test ran, from the folder that was their NODE_V8_COVERAGE.
 *
 * @returns how often they ran a place in a file
 */
export function readCoverage(folder: string): (file: string, offset: number) => number {
  const ranges = new Map<string, Range[][]>()
  for (const name of readdirSync(folder)) {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report
    for (const { url, functions } of result) {
      ranges.set(url, [...(ranges.get(url) ?? []), functions.flatMap((one) => one.ranges)])
    }
  }
  return (file, offset) => {
    const processes = ranges.get(pathToFileURL(file).href) ?? []
    return processes.reduce((sum, all) => sum + (innermost(all, offset)?.count ?? 0), 0)
  }
}

function innermost(ranges: Range[], offset: number) {
  return ranges
    .filter(({ startOffset, endOffset }) => startOffset <= offset && offset < endOffset)
    .sort((a, b) => a.endOffset - a.startOffset - (b.endOffset - b.startOffset))[0]
}
