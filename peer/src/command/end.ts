import type { Terminal } from '../cli/terminal.ts'

/**
 * Keeps the process alive until `release`. `end` is aborted by Ctrl-C, when the terminal closes, or when nobody reads the output any more.
 */
export function endOfProcess({ broken }: Terminal): { end: AbortSignal; release: () => void } {
  const signalled = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => signalled.abort())
  // A listener for signals keeps no process alive.
  const alive = setInterval(() => {}, 2 ** 30)
  return { end: AbortSignal.any([signalled.signal, broken]), release: () => clearInterval(alive) }
}
