import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { PeerError } from '../errors.ts'
import { connectTo, type Place, placesOf, takePlace } from './lock-socket.ts'

/** Milliseconds for the other process to say its id, and to end. */
const ANSWER = 2000
const PATIENCE = 15_000
/** How often other processes may come and go in between. */
const ATTEMPTS = 20

/**
 * Makes this process the one that announces the identity in `dir`. It holds a socket there, which the operating system closes with the
 * process, however that ends. So it never mistakes another process for the holder.
 *
 * @param onStop called when another process asks this one to end
 * @returns releases it
 * @throws PeerError `already_running`, with the other's process id; `identity_not_saved`
 */
export async function holdRunningLock(dir: string, onStop: () => void): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.unref())
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.once('data', onStop)
    socket.write(`${process.pid}\n`)
  })
  const places = placesOf(dir)
  for (let attempt = 1; ; attempt++) {
    await expectNobody(places, attempt === ATTEMPTS)
    const release = await takePlace(server, places)
    if (!release) continue // another process was faster
    return async () => {
      const closed = release()
      for (const socket of sockets) socket.destroy()
      await closed
    }
  }
}

/**
 * Asks the process that announces the identity in `dir` to end, and waits for that.
 *
 * @param patience milliseconds
 * @returns whether there was one
 * @throws PeerError `already_running` if it does not end in time, or is another user's
 */
export async function stopRunning(dir: string, patience = PATIENCE): Promise<boolean> {
  const socket = await findHolder(placesOf(dir))
  if (!socket) return false
  const pid = await processId(socket)
  socket.write('stop\n')
  try {
    if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(patience) })
  } catch (cause) {
    socket.destroy()
    throw new PeerError('already_running', `process ${pid} was asked to end, but has not`, { cause })
  }
  return true
}

async function expectNobody(places: Place[], isLast: boolean) {
  const holder = await findHolder(places)
  if (!holder) return
  const pid = await processId(holder)
  holder.destroy()
  if (pid || isLast) throw new PeerError('already_running', `process ${pid} already announces this identity`)
}

/** @returns undefined if there is none */
async function findHolder(places: Place[]): Promise<Socket | undefined> {
  for (const { path } of places) {
    const holder = await connectTo(path)
    if (holder) return holder
  }
  return undefined
}

/** @returns nothing if the process has just ended */
async function processId(holder: Socket): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const timer = setTimeout(() => resolve('of an unknown id'), ANSWER)
  holder.once('data', (text) => resolve(String(text).trim())).once('close', () => resolve(''))
  return promise.finally(() => clearTimeout(timer))
}
