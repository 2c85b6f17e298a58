import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** Runs docker; what it printed. */
export async function docker(...args: string[]) {
  return (await promisify(execFile)('docker', args, { maxBuffer: 2 ** 26 })).stdout.trim()
}

/** Everything that a container has printed. */
export async function logsOf(id: string) {
  return (await promisify(execFile)('sh', ['-c', 'docker logs "$0" 2>&1', id], { maxBuffer: 2 ** 26 })).stdout.trim()
}

/** Whether a command succeeds. */
export function succeeds(command: Promise<unknown>) {
  return command.then(
    () => true,
    () => false
  )
}
