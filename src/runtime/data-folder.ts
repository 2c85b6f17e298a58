import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { cannotWrite, replaceFile, syncFolder } from './replace-file.ts'

/** SQLite's result code for a lock that somebody else holds. */
const SQLITE_BUSY = 5

/** Keeps the locks from garbage collection, which would release them. */
const locks: DatabaseSync[] = []

/**
 * Creates a folder if necessary, and reserves it until this process ends: nobody else can claim it, not even in another container.
 * `dir/owner` tells people which process has it.
 *
 * The lock is the operating system's, because process ids are reused after a crash or in a container. Node.js has no such locks, but its
 * SQLite does, on Linux, macOS and NFS. Other virtual machines, such as Docker Desktop's, and network file systems without locks do not
 * see it.
 *
 * @param dir its path has at most 500 bytes
 * @throws Error in one line if another process has the folder, or it cannot be written
 */
export function claimDataFolder(dir: string): void {
  try {
    let existing = resolve(dir)
    while (!existsSync(existing)) existing = dirname(existing)
    accessSync(existing, constants.W_OK)
    mkdirSync(dir, { recursive: true })
    syncFolder(dirname(resolve(dir)))
  } catch (error) {
    throw cannotWrite(`DATA_DIR ${dir} as user ${process.geteuid?.()}`, error)
  }
  const ownerFile = join(dir, 'owner')
  if (!lockFolder(dir)) {
    const owner = existsSync(ownerFile) ? readFileSync(ownerFile, 'utf8').trim() : 'another process'
    throw new Error(`DATA_DIR ${dir} is in use by ${owner}: end it, or set DATA_DIR to another folder`)
  }
  const now = new Date().toISOString()
  replaceFile(ownerFile, `process ${process.pid} on ${hostname()}, started at ${now}\n`, 0o644)
}

/**
 * Reserves a folder until this process ends, with a file `lock` in it.
 *
 * @returns whether nobody else has it
 * @throws Error if the file cannot be made or locked
 */
export function lockFolder(dir: string): boolean {
  const file = join(dir, 'lock')
  try {
    const lock = new DatabaseSync(file)
    // Nothing is ever written to it, but SQLite would create a journal.
    lock.exec('pragma journal_mode = memory; begin immediate')
    locks.push(lock)
    return true
  } catch (error) {
    const { errcode, message } = error as Error & { errcode: number }
    if (errcode === SQLITE_BUSY) return false
    throw new Error(`cannot lock ${file}: ${message}`)
  }
}
