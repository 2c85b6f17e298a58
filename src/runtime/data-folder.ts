import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { cannotWrite, replaceFile, syncFolder } from './replace-file.ts'

/** SQLite's result code for a lock that somebody else has. */
const SQLITE_BUSY = 5

/** Locks last until the process ends: a lock that is collected as garbage is gone. */
const locks: DatabaseSync[] = []

/**
 * Makes a folder if need be, and keeps it for this process until it ends, however it ends: no other process can claim it meanwhile, be it
 * in another container. `dir/owner` says in words who has it, for people.
 *
 * The lock is one of the operating system on the file `dir/lock`, not a process id, which others have after a crash or in a container. Node has
 * none, but SQLite, which is in it, has, on Linux, macOS and NFS. Other virtual machines, such as the one of Docker Desktop, do not see
 * it, nor does a network file system without locks.
 *
 * @param dir its path has at most 500 bytes
 * @throws Error in one line when another process has the folder, or it cannot be written
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
  try {
    const lock = new DatabaseSync(join(dir, 'lock'))
    // Nothing is ever written to it, but without this SQLite makes a journal beside it.
    lock.exec('pragma journal_mode = memory; begin immediate')
    locks.push(lock)
  } catch (error) {
    const { errcode, message } = error as Error & { errcode: number }
    if (errcode !== SQLITE_BUSY) throw new Error(`cannot lock ${join(dir, 'lock')}: ${message}`)
    const owner = existsSync(ownerFile) ? readFileSync(ownerFile, 'utf8').trim() : 'another process'
    throw new Error(`DATA_DIR ${dir} is in use by ${owner}: end it, or set DATA_DIR to another folder`)
  }
  const now = new Date().toISOString()
  replaceFile(ownerFile, `process ${process.pid} on ${hostname()}, started at ${now}\n`, 0o644)
}
