import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { CommandError } from '../cli/terminal.ts'

/** Milliseconds for `up` to end. */
const PATIENCE = 15_000

/**
 * Records that this process is the `up` of the identity in `dir`.
 *
 * @returns a function to call when it ends
 * @throws CommandError `already_up`
 */
export function markRunning(dir: string): () => void {
  const path = join(dir, 'up.pid')
  const pid = runningPid(dir)
  if (pid !== undefined) throw new CommandError('already_up', `it is up already, as process ${pid}`)
  rmSync(path, { force: true }) // left by an `up` that was killed
  writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 })
  return () => rmSync(path, { force: true })
}

/**
 * Ends the `up` of the identity in `dir`, and waits for that.
 *
 * @returns whether one was running
 * @throws CommandError `not_ended`
 */
export async function stopRunning(dir: string, patience = PATIENCE): Promise<boolean> {
  const pid = runningPid(dir)
  if (pid === undefined) return false
  process.kill(pid, 'SIGTERM')
  for (const end = Date.now() + patience; runningPid(dir) === pid; await setTimeout(50)) {
    if (Date.now() > end) throw new CommandError('not_ended', `process ${pid} does not end: kill -KILL ${pid}`)
  }
  return true
}

function runningPid(dir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(dir, 'up.pid'), 'utf8'))
    process.kill(pid, 0)
    return pid
  } catch {
    return undefined // no such file, or no such process
  }
}
