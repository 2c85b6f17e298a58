import { setTimeout as pause } from 'node:timers/promises'
import { openClient } from '../postgres/postgres-client.ts'

/** Milliseconds between queries for expired broadcasts, which also show whether the connection works. */
const INTERVAL = 1000

interface Listener {
  /** The peer with this e-mail address may have changed. */
  changed: (email: string) => void
  /** The certificate with this fingerprint is no longer valid. */
  revoked: (fingerprint: string) => void
  /** From now on every change is reported. Earlier ones may have been missed. */
  connected: () => void
  /** Changes are missed until `connected` is called again. */
  disconnected: (error: unknown) => void
}

/**
 * Reports every change, whichever process made it, until `signal` aborts. Reconnects by itself.
 *
 * @param maxExpired how many expired peers one query reports at most
 */
export async function followChangeFeed(
  url: string,
  listener: Listener,
  signal: AbortSignal,
  maxExpired: number
): Promise<void> {
  const wait = () => pause(INTERVAL, undefined, { signal }).catch(() => {})
  while (!signal.aborted) {
    const { sql, answerOf, discard } = openClient(url, {
      max: 1,
      max_lifetime: null,
      onnotify: (channel, payload) => listener[channel === 'certificates' ? 'revoked' : 'changed'](payload)
    })
    signal.addEventListener('abort', discard)
    try {
      await answerOf(sql`listen broadcasts; listen certificates`.simple())
      const [start] = await answerOf(sql<[{ now: string }]>`select now()::text`)
      signal.throwIfAborted()
      listener.connected()
      for (let since = start.now; !signal.aborted; await wait()) {
        const [{ now, isListening, expired }] = await answerOf(sql<
          [{ now: string; isListening: boolean; expired: string[] }]
        >`
          select now()::text, exists (select from pg_listening_channels()) as "isListening", (
            select coalesce(json_agg((select email from clients where id = client_id)), '[]')
            from (
              select client_id from broadcasts
              where expires_at > ${since}::text::timestamptz and expires_at <= now() limit ${maxExpired}
            ) broadcast
          ) as expired`)
        if (!isListening) throw new Error('the session no longer listens: it was replaced')
        for (const email of expired) listener.changed(email)
        since = now
      }
    } catch (error) {
      if (!signal.aborted) listener.disconnected(error)
    } finally {
      signal.removeEventListener('abort', discard)
      discard()
    }
    await wait()
  }
}
