import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { getSystemErrorMessage } from 'node:util'

/**
 * Writes a file so that a crash, a full disk or a power failure leaves either the complete old file or the complete new one. Two processes
 * must not do so at once: both would write `PATH.new`.
 *
 * @param mode the permissions of the new file, less the umask
 * @throws Error that names the file and says why; nothing is left behind
 */
export function replaceFile(path: string, text: string, mode: number): void {
  const beside = `${path}.new`
  try {
    // An existing file would keep its permissions.
    rmSync(beside, { force: true })
    writeFileSync(beside, text, { mode, flush: true })
    renameSync(beside, path)
    syncFolder(dirname(path))
  } catch (error) {
    rmSync(beside, { force: true })
    throw cannotWrite(path, error)
  }
}

/** Ensures that names added or changed in a folder survive a power failure. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** The error of a failed system call: "cannot write PATH: no space left on device". */
export function cannotWrite(path: string, error: unknown): Error {
  return new Error(`cannot write ${path}: ${getSystemErrorMessage((error as NodeJS.ErrnoException).errno as number)}`)
}
