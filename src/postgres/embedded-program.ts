import { execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { chownSync, lchownSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** The user id of `nobody` on Linux. */
const NOBODY = 65534

/** The user that PostgreSQL's programs run as. */
export interface Account {
  /** Precedes the program on the command line. */
  prefix: string[]
  options: Pick<SpawnOptions, 'uid' | 'gid'>
}

export type Program = ReturnType<typeof startProgram>

/**
 * Chooses the user for PostgreSQL, which refuses to run as root and accepts only files that its user owns. That is the current user or, for
 * root, the owner of the files. If root owns them, PostgreSQL runs in a user namespace, where root can still reach them. Where namespaces
 * are forbidden, as in most containers, `nobody` is given the files.
 *
 * @param dir where PostgreSQL's files are
 * @throws Error if they belong to another user
 */
export function accountFor(dir: string): Account {
  const { uid, gid } = statSync(dir)
  const self = process.geteuid?.()
  /* c8 ignore start: each test run has one user, and CI runs as both kinds */
  if (self !== 0) {
    if (uid === self) return { prefix: [], options: {} }
    throw new Error(
      `${dir} belongs to user ${uid}, and this is user ${self}: start it as that user or as root, or set DATA_DIR to another folder`
    )
  }
  if (uid !== 0) return { prefix: [], options: { uid, gid } }
  const prefix = ['unshare', '--user', `--map-user=${NOBODY}`]
  try {
    execFileSync('unshare', [...prefix.slice(1), 'true'], { stdio: 'ignore' })
    return { prefix, options: {} }
  } catch {
    for (const entry of readdirSync(dir, { recursive: true })) lchownSync(join(dir, String(entry)), NOBODY, NOBODY)
    chownSync(dir, NOBODY, NOBODY)
    return { prefix: [], options: { uid: NOBODY, gid: NOBODY } }
  }
  /* c8 ignore stop */
}

/**
 * Starts one of PostgreSQL's programs. It gets SIGINT when this process ends, however that happens, but no signal from the terminal.
 *
 * @param onLine called with each line that it writes to stderr
 */
export function startProgram(
  { prefix, options }: Account,
  program: string,
  args: string[],
  onLine?: (line: string) => void
) {
  const [command, ...rest] = [...prefix, program, ...args] as [string, ...string[]]
  const child = spawn(command, rest, {
    ...options,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true
  })
  let [fault, last] = ['', '']
  createInterface(child.stderr).on('line', (line) => {
    // The first fault causes the others. What clients are told while the server starts or stops is no fault.
    if (/(ready to accept connections|reinitializing)$/.test(line)) fault = ''
    fault ||= /(?:ERROR|FATAL|PANIC|error): +(?! |the database system is)(.*)/.exec(line)?.[1] ?? ''
    last = line
    onLine?.(line)
  })
  // A shell waits for the end of a pipe that only this process holds. In a process group of its own, it is not killed with this one.
  const guard = spawn('/bin/sh', ['-c', 'read -r _; kill -INT "$0"', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
  guard.unref()
  return {
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    /** Resolves when the program and its children have ended, with what it said was wrong, in one line. */
    ended: new Promise<{ isSuccess: boolean; reason: string }>((resolve) => {
      child.once('error', ({ message }) => resolve({ isSuccess: false, reason: message }))
      child.once('close', (code, signal) => {
        guard.kill('SIGKILL')
        resolve({ isSuccess: code === 0, reason: signal ?? (fault || last || `exit code ${code}`) })
      })
    })
  }
}
