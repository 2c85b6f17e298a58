import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import './teardown.ts'

const { PATH, HOME, NODE_COMPILE_CACHE } = process.env
const NODE_OPTIONS = NODE_COMPILE_CACHE ? '' : process.env.NODE_OPTIONS
const COVERAGE = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('_TAPJS_')))

/** Runs one of the project's programs as its npm script does, in `cwd`, with no settings but `env`. */
export function start(
  t: Test,
  file: string,
  { args = [] as string[], env = {} as NodeJS.ProcessEnv, cwd = t.testdir({}) }
) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../..', file), ...args], {
    cwd,
    env: { PATH, HOME, NODE_OPTIONS, NODE_COMPILE_CACHE, ...COVERAGE, ...env }
  })
  const running = follow(child)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await running.ended
  })
  return running
}

/** What a process has printed for people, besides its log. */
export function withoutLog(output: string) {
  return output.replaceAll(/^\{.*\}\n/gm, '')
}

/** Follows what a process prints, to its end. */
export function follow(child: ChildProcessWithoutNullStreams) {
  let output = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
      for (const look of waiting) look()
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code: code as number | null, signal, output }))
  return {
    child,
    ended,
    output: () => output,
    /** Resolves when the output has `text`; rejects when the program ends without it. */
    printed: (text: string) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (!output.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        ended.then(() => reject(new Error(`ended without "${text}":\n${output}`)))
      })
  }
}
