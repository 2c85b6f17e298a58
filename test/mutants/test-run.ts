import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Seconds that a test has to clean up after its first failure. */
const GRACE = 20

export interface Outcome {
  /** The first assertion that failed, if any. */
  failure: string | undefined
  seconds: number
}

/** Runs one test file, or any other Node.js program, in a folder; whatever it started ends with it. */
export async function runFile(cwd: string, args: string[], env: NodeJS.ProcessEnv, limit: number): Promise<Outcome> {
  const began = performance.now()
  const child = spawn(process.execPath, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const end = () => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {} // nothing is left
  }
  process.once('exit', end)
  let failure: string | undefined
  let timer = setTimeout(() => {
    failure = `not done after ${limit} s`
    end()
  }, limit * 1000)
  let output = ''
  child.stderr.resume()
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
    const failed = /^ *not ok \d+ - (?!.*# (?:SKIP|TODO))(.*)\n/m.exec(output)
    if (failed && !failure) {
      failure = failed[1] as string
      clearTimeout(timer)
      timer = setTimeout(end, GRACE * 1000)
    }
  })
  const [code] = await once(child, 'exit')
  clearTimeout(timer)
  end()
  process.off('exit', end)
  if (code !== 0) failure ??= output.trim().split('\n').at(-1) || `exit code ${code}`
  return { failure, seconds: (performance.now() - began) / 1000 }
}
