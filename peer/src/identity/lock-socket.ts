import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type BigIntStats, linkSync, lstatSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { connect, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { PeerError } from '../errors.ts'
import { errorCode, temporary } from './identity-files.ts'

/** Bytes of a socket's path, and of its temporary name: macOS has room for 103, Linux for 107. */
const MAX_PATH = 103
const TEMPORARY = temporary('').length
/** What `connect` answers if no process listens there any more, or it is no socket. */
const NOBODY = ['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'ENOTDIR']

/** Where the lock of an identity may be: Windows' pipes are no files, and disappear with their process. */
export interface Place {
  path: string
  kind: 'file' | 'pipe'
  /** The folder of the identity's owner for temporary files, made if need be. */
  folder?: string
}

/**
 * Where to look for the lock of the identity in `dir`: in the folder, because everybody who can use the identity finds it there; and among
 * its owner's temporary files, if its path is too long, its file system has no sockets, or it may only be read.
 */
export function placesOf(dir: string): Place[] {
  const real = tryRealPath(dir)
  const name = createHash('sha256').update(real).digest('hex').slice(0, 32)
  if (process.platform === 'win32') return [{ path: `\\\\.\\pipe\\relay-peer-${name}`, kind: 'pipe' }]
  const path = join(real, 'running.sock')
  const owner = stats(real)?.uid
  const folder = join(tmpdir(), `relay-peer-${owner}`)
  const isShort = Buffer.byteLength(path) + TEMPORARY <= MAX_PATH
  return [
    ...(isShort ? [{ path, kind: 'file' as const }] : []),
    ...(owner !== undefined && isFolderOf(owner, folder)
      ? [{ path: join(folder, name), kind: 'file' as const, folder }]
      : [])
  ]
}

/**
 * Listens at the first place that can be used.
 *
 * @returns releases it; or undefined if another process is there
 * @throws PeerError `identity_not_saved`
 */
export async function takePlace(server: Server, places: Place[]): Promise<(() => Promise<unknown>) | undefined> {
  let cause: unknown
  for (const place of places) {
    try {
      return await (place.kind === 'pipe' ? takePipe(server, place) : takeFile(server, place))
    } catch (error) {
      cause = error
    }
  }
  const { message } = cause as Error
  throw new PeerError('identity_not_saved', `the lock of a running peer could not be created: ${message}`, { cause })
}

/** @returns undefined if nobody listens there */
export async function connectTo(path: string): Promise<Socket | undefined> {
  const socket = connect(path).on('error', () => {})
  try {
    await once(socket, 'connect')
    return socket.setEncoding('utf8').resume()
  } catch (cause) {
    socket.destroy()
    if (NOBODY.includes(String(errorCode(cause)))) return undefined
    const { message } = cause as Error
    throw new PeerError('already_running', `perhaps another user's process announces this identity: ${message}`, {
      cause
    })
  }
}

async function takePipe(server: Server, { path }: Place) {
  try {
    await listen(server, path)
    return () => close(server)
  } catch (error) {
    if (errorCode(error) === 'EADDRINUSE') return undefined
    throw error
  }
}

/**
 * A link takes the place, if it is free. The server itself listens under a temporary name, because it deletes that file when it is closed,
 * whoever's it is by then.
 */
async function takeFile(server: Server, { path, folder }: Place) {
  if (folder) mkdirSync(folder, { recursive: true, mode: 0o700 })
  const own = join(dirname(path), temporary(basename(path)))
  await listen(server, own)
  try {
    const seen = idOf(path)
    if (!(await isTaken(path))) removeStale(path, seen)
    const id = idOf(own)
    linkSync(own, path)
    rmSync(own, { force: true })
    return () => {
      if (idOf(path) === id) rmSync(path, { force: true })
      return close(server)
    }
  } catch (error) {
    await close(server) // which deletes its file
    if (errorCode(error) === 'EEXIST') return undefined
    throw error
  }
}

async function isTaken(path: string): Promise<boolean> {
  const holder = await connectTo(path)
  holder?.destroy()
  return holder !== undefined
}

/** Removes the socket of a process that was killed, unless it is another one by now. What is no socket is only renamed. */
function removeStale(path: string, seen: string | undefined) {
  if (seen === undefined || idOf(path) !== seen) return
  const isSocket = stats(path)?.isSocket()
  const aside = isSocket ? join(dirname(path), temporary(basename(path))) : `${path}.moved`
  renameSync(path, aside)
  if (idOf(aside) !== seen) linkSync(aside, path) // another process was faster by microseconds
  if (isSocket) rmSync(aside, { force: true })
}

/** Tells a file from another one that has its name, or its number, since. */
function idOf(path: string): string | undefined {
  const { ino, mtimeNs } = stats(path) ?? {}
  return ino === undefined ? undefined : `${ino} ${mtimeNs}`
}

function stats(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })
}

/** Whether a folder is a user's, or can be made: anybody may make one among the temporary files. */
function isFolderOf(owner: bigint, folder: string): boolean {
  const found = stats(folder)
  return !found || (found.isDirectory() && found.uid === owner)
}

async function listen(server: Server, path: string) {
  await once(server.listen(path), 'listening')
  server.unref().on('error', () => {}) // it cannot accept a connection now, and may later
}

async function close(server: Server) {
  const closed = once(server, 'close')
  server.close()
  await closed
}

/** In one spelling, where case does not count. */
function tryRealPath(dir: string): string {
  try {
    return realpathSync.native(dir)
  } catch {
    return resolve(dir) // there is no such folder, and nobody announces it
  }
}
