import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'

/**
 * The protocol between peers, for ALPN (RFC 7301). The callee's first line says whether it accepts the caller: `accepted`, or `refused` and
 * a reason. ALPN itself cannot say this, because the callee answers it before it has seen the caller's certificate. Nor can the
 * handshake: in TLS 1.3 it ends for the caller before the callee has decided.
 */
export const PROTOCOL = 'relay-peer/2'

/** Why a callee refuses a caller. */
export type Refusal =
  /** The tracker has no such peer online. */
  | 'not_online'
  /** The application declined. */
  | 'declined'
  /** The caller is known by another certificate. */
  | 'fingerprint_changed'
  /** The tracker cannot be asked, and the caller is not a known peer. */
  | 'unavailable'
  /** Too many peers are connected, or waiting. */
  | 'busy'

/** Bytes, without the line's end. */
const MAX_LINE = 64
const LINE_FEED = 10
const VERDICT = /^(?:accepted|refused ([a-z_]+))$/

/** Tells the caller that it is accepted; what follows is the application's. */
export function accept(socket: TLSSocket): void {
  socket.write('accepted\n')
}

/** Tells the caller why it is not accepted, and closes the connection. */
export function refuse(socket: TLSSocket, reason: Refusal): void {
  socket.end(`refused ${reason}\n`, () => socket.destroySoon())
}

/**
 * Reads the callee's verdict, and leaves what follows it to be read.
 *
 * @returns why it refuses; undefined if it accepts
 * @throws Error if the callee says something else or closes the connection, or the signal's reason
 */
export async function readVerdict(socket: TLSSocket, signal: AbortSignal): Promise<string | undefined> {
  let received = Buffer.alloc(0)
  while (!received.includes(LINE_FEED)) {
    if (received.length > MAX_LINE) throw new Error('it speaks another protocol')
    received = Buffer.concat([received, await readSome(socket, signal)])
  }
  const end = received.indexOf(LINE_FEED)
  const rest = received.subarray(end + 1)
  if (rest.length > 0) socket.unshift(rest)
  const verdict = VERDICT.exec(received.toString('latin1', 0, end))
  if (!verdict) throw new Error('it speaks another protocol')
  return verdict[1]
}

async function readSome(socket: TLSSocket, signal: AbortSignal): Promise<Buffer> {
  const over = new AbortController()
  const end = { signal: AbortSignal.any([signal, over.signal]) }
  try {
    for (;;) {
      const chunk = socket.read()
      if (chunk !== null) return chunk
      if (socket.readableEnded || socket.destroyed) throw new Error('it closed the connection before it accepted')
      await Promise.race([once(socket, 'readable', end), once(socket, 'end', end), once(socket, 'close', end)])
    }
  } finally {
    over.abort()
  }
}
