import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { PeerError } from '../errors.ts'

/** Milliseconds after which nobody is writing a file any more. */
const ABANDONED = 600_000

/** Replaces a file. Whenever the process or the machine stops, either the old content is there or the new one. */
export function replaceFile(dir: string, name: string, text: string): void {
  write(dir, name, text, (from, to) => {
    renameSync(from, to)
    return true
  })
}

/**
 * Creates a file, unless it exists.
 *
 * @returns whether it was created
 */
export function createFile(dir: string, name: string, text: string): boolean {
  return write(dir, name, text, placeNew)
}

/**
 * Renames a file, unless the new name exists. Of several processes, one succeeds.
 *
 * @returns whether it was renamed
 */
export function renameNew(dir: string, from: string, to: string): boolean {
  const [source, target] = [join(dir, from), join(dir, to)]
  try {
    if (!placeNew(source, target)) return false
    rmSync(source, { force: true })
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false
    throw notSaved(target, cause)
  }
  syncFolder(dir)
  return true
}

/**
 * Takes a file away, so that no other process has it.
 *
 * @param to its new name; by default it is deleted
 * @returns whether there was one
 */
export function takeAway(dir: string, name: string, to?: string): boolean {
  const aside = to ?? temporary(name)
  try {
    renameSync(join(dir, name), join(dir, aside))
    if (to === undefined) rmSync(join(dir, aside), { force: true, recursive: true })
    return true
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false
    throw notSaved(join(dir, name), cause)
  }
}

/** Deletes files, and what a process that was killed has left half-written of them. */
export function removeFiles(dir: string, names: string[]): void {
  for (const file of readdirSync(dir)) {
    if (names.includes(file) || isTemporary(file, names)) rmSync(join(dir, file), { force: true, recursive: true })
  }
}

/** Deletes what processes that were killed have left half-written of files, as far as this is possible. */
export function removeAbandoned(dir: string, names: string[]): void {
  try {
    for (const file of readdirSync(dir).filter((file) => isTemporary(file, names))) {
      const path = join(dir, file)
      // A clock may have been set back since.
      if (Math.abs(Date.now() - statSync(path).mtimeMs) > ABANDONED) rmSync(path, { force: true })
    }
  } catch {} // a folder that only others may change, or another process was faster
}

/**
 * Reads a file, without the byte order mark that some editors write.
 *
 * @returns undefined if there is no such file
 * @throws PeerError `identity_unreadable`
 */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined
    throw new PeerError('identity_unreadable', `${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/** The code of an error of the operating system. */
export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}

/** A name for a file that is not complete. */
export function temporary(name: string): string {
  return `.${name}.${randomUUID().slice(0, 8)}`
}

function isTemporary(file: string, names: string[]) {
  return names.some((name) => file.startsWith(`.${name}.`))
}

/** Writes a file under another name first, so that it is complete when it appears. */
function write(dir: string, name: string, text: string, place: (from: string, to: string) => boolean): boolean {
  const beside = join(dir, temporary(name))
  let isPlaced: boolean
  try {
    const file = openSync(beside, 'wx', 0o600)
    try {
      writeFileSync(file, text)
      fsyncSync(file)
      isPlaced = place(beside, join(dir, name))
    } finally {
      closeSync(file)
      rmSync(beside, { force: true })
    }
  } catch (cause) {
    throw notSaved(join(dir, name), cause)
  }
  syncFolder(dir)
  return isPlaced
}

/**
 * Unlike a rename, a link does not replace a file. On file systems without links, such as exFAT, another process has microseconds to come
 * in between.
 *
 * @returns false if the new name exists
 */
function placeNew(from: string, to: string): boolean {
  try {
    linkSync(from, to)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') throw error
    if (errorCode(error) === 'EEXIST' || existsSync(to)) return false
    renameSync(from, to)
  }
  return true
}

function notSaved(path: string, cause: unknown) {
  return new PeerError('identity_not_saved', `${path} could not be saved: ${(cause as Error).message}`, { cause })
}

/** Makes a new name survive a power failure. Windows cannot, and does not need to. */
function syncFolder(dir: string) {
  let folder: number | undefined
  try {
    folder = openSync(dir, 'r')
    fsyncSync(folder)
  } catch {
    // The file itself is safe.
  } finally {
    if (folder !== undefined) closeSync(folder)
  }
}
