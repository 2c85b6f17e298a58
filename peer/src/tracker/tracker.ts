import type { Credentials } from '../identity/identity.ts'
import type { Rotation } from '../identity/rotation-chain.ts'
import { type EventLine, parseEvents } from './event-source.ts'
import { type Answer, createTrackerRequests, type RequestOptions } from './tracker-request.ts'

/** A peer that is online. */
export interface Broadcast {
  email: string
  port: number
  /** IP addresses, in the order in which the peer announced them. */
  addresses: string[]
  /** The address at which the tracker saw the peer. */
  observed_address: string | null
  /** What the peer passed to `announce` as `capabilities`. */
  capabilities: Record<string, unknown>
  /** SHA-256 of the certificate's DER in base64url. */
  fingerprint: string
  /** The time of the last announcement: RFC 3339, UTC. */
  last_seen: string
  /** RFC 3339, UTC. */
  expires_at: string
  /** Only from `lookup`: the peer's last certificates, oldest first, each signed with the key before it. The last one is current. */
  rotations?: Rotation[]
}

export interface Announcement {
  port: number
  addresses: string[]
  capabilities?: Record<string, unknown>
  /** Seconds to stay online. */
  ttl?: number
}

export interface Validity {
  fingerprint: string
  not_before: string
  not_after: string
}

/** Milliseconds without data in the event stream, where a comment arrives every 25 s. */
const SILENCE = 60_000
/** Peers on a page of the list: the tracker allows no more. */
const PAGE = 1000
/** The link to the next page (RFC 8288). */
const NEXT_PAGE = /<\/api\/relay(\/broadcast\/list\?[^>]*)>; rel="next"/

export type Tracker = ReturnType<typeof createTracker>

/**
 * The tracker's calls.
 *
 * All throw a TrackerError, with the tracker's status and code or one of ours, or the signal's reason.
 *
 * @param options.silence milliseconds without data after which the event stream ends with an error
 */
export function createTracker({
  silence = SILENCE,
  ...options
}: Parameters<typeof createTrackerRequests>[0] & { silence?: number }) {
  const { call, stream, now, setCa, close } = createTrackerRequests(options)
  return {
    now,
    setCa,
    close,

    /** The handshake proves that this peer holds the certificate's key. */
    async register(email: string, { certificate }: Credentials, signal?: AbortSignal) {
      const body = { email, certificate }
      return (await call<{ client_id: string; email_verification?: 'pending' }>('POST', '/register', { body, signal }))
        .body
    },

    async unregister(signal?: AbortSignal) {
      await call('DELETE', '/register', { signal })
    },

    /** Which certificate is valid. Called with a proposed one, this makes it valid. */
    async certificate(options?: RequestOptions) {
      return (await call<Validity & { pending: Validity | null }>('GET', '/certificate', options)).body
    },

    /** @param signature the current key's, for peers that know the current certificate */
    async proposeCertificate({ certificate }: Credentials, signature: string, signal?: AbortSignal) {
      await call('POST', '/certificate', { body: { certificate, signature }, signal })
    },

    /** @returns `reannounceAfter` in seconds */
    async announce(announcement: Announcement, signal?: AbortSignal) {
      const { body, headers } = await call<{ expires_in: number; observed_address: string | null }>(
        'POST',
        '/broadcast/ready',
        { body: announcement, signal }
      )
      return { ...body, reannounceAfter: Number(headers['reannounce-after'] ?? body.expires_in / 2) }
    },

    /** The caller's own broadcast. */
    async own(signal?: AbortSignal) {
      return (await call<Broadcast>('GET', '/broadcast/ready', { signal })).body
    },

    async withdraw(signal?: AbortSignal) {
      await call('DELETE', '/broadcast/ready', { signal })
    },

    /** @throws TrackerError 404 `peer_not_found` for a peer that is offline or unknown */
    async lookup(by: { email: string } | { fingerprint: string }, signal?: AbortSignal) {
      return (await call<Broadcast>('GET', `/broadcast/lookup?${new URLSearchParams(by)}`, { signal })).body
    },

    /** Everyone online but the caller, in no particular order, page by page, so that no answer is too long. */
    async list(signal?: AbortSignal) {
      const everyone: Broadcast[] = []
      let path: string | undefined = `/broadcast/list?limit=${PAGE}`
      while (path) {
        const { body, headers }: Answer<Broadcast[]> = await call('GET', path, { signal })
        everyone.push(...body)
        path = NEXT_PAGE.exec(String(headers.link))?.[1]
      }
      return everyone
    },

    /** Who is online, live, line by line, until the tracker ends the stream. */
    events(signal: AbortSignal): AsyncGenerator<EventLine, void> {
      return stream('/broadcast/events', { signal, silence, parse: parseEvents })
    }
  }
}
