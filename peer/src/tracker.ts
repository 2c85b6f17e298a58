import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import https from 'node:https'
import { TrackerError } from './errors.ts'
import { parseEvents, type ServerEvent } from './event-source.ts'
import type { Credentials } from './identity.ts'

/** A peer that is online. */
export interface Broadcast {
  email: string
  port: number
  /** IP addresses, in the order in which to try them. */
  addresses: string[]
  /** Where the tracker saw the peer. */
  observed_address: string | null
  capabilities: Record<string, unknown>
  fingerprint: string
  /** RFC 3339, UTC; the last announcement. */
  last_seen: string
  expires_at: string
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

interface Options {
  signal?: AbortSignal | undefined
  /** Credentials other than those in use. */
  as?: Credentials
}

interface Answer<T> {
  body: T
  headers: IncomingHttpHeaders
}

/** Milliseconds. */
const TIMEOUT = 10_000
const SILENCE = 60_000
/** Characters of an answer; a page of the list has at most some 5 MB. */
const MAX_ANSWER = 16 * 1024 * 1024
/** Peers on a page of the list: the tracker allows no more. */
const PAGE = 1000
/** How the tracker names the next page (RFC 8288). */
const NEXT_PAGE = /<\/api\/relay(\/broadcast\/list\?[^>]*)>; rel="next"/

export type Tracker = ReturnType<typeof createTracker>

/**
 * The tracker's calls. Each presents the credentials that are in use when it starts.
 *
 * All throw a TrackerError, with the tracker's status and code or `tracker_unreachable`; or the signal's reason.
 *
 * @param options.ca PEM, if no public authority vouches for the tracker
 * @param options.timeout milliseconds for a complete answer
 * @param options.silence milliseconds without data in the event stream, where a comment arrives every 25 s
 */
export function createTracker(options: {
  url: string
  ca?: string | undefined
  credentials: () => Credentials
  timeout?: number
  silence?: number
}) {
  const { timeout = TIMEOUT, silence = SILENCE } = options
  const base = new URL('/api/relay', options.url).href
  const agent = new https.Agent({ keepAlive: true, ...(options.ca && { ca: options.ca }) })

  async function request(
    method: string,
    path: string,
    { body, signal, silence, as = options.credentials() }: Options & { body?: unknown; silence?: number | undefined }
  ): Promise<IncomingMessage> {
    signal?.throwIfAborted()
    const send = https.request(base + path, {
      method,
      agent,
      cert: as.certificate,
      key: as.privateKey,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      ...(signal && { signal }),
      ...(silence && { timeout: silence })
    })
    send.on('error', () => {}) // the response reports those that come later
    if (silence) send.on('timeout', () => send.destroy(new Error('it has fallen silent')))
    send.end(body === undefined ? undefined : JSON.stringify(body))
    try {
      const [response] = (await once(send, 'response')) as [IncomingMessage]
      return response.setEncoding('utf8')
    } catch (error) {
      // The tracker closed a kept-alive connection in the same moment. Every call may be repeated.
      if (!send.reusedSocket || signal?.aborted) throw error
      return request(method, path, { body, signal, silence, as })
    }
  }

  /** Turns every failure but the signal's into a TrackerError. */
  async function explained<T>(signal: AbortSignal | undefined, act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      signal?.throwIfAborted()
      throw error instanceof TrackerError ? error : unreachable(error as Error)
    }
  }

  function unreachable(cause: Error) {
    // An AbortError's own message says nothing, and an AggregateError has none.
    const { message, code, cause: reason } = cause as NodeJS.ErrnoException & { cause?: Error }
    const why = [reason?.message, message, code].find(Boolean)
    return new TrackerError(`the tracker at ${options.url} cannot be reached: ${why}`, {
      status: 0,
      code: 'tracker_unreachable',
      cause
    })
  }

  function call<T>(
    method: string,
    path: string,
    { signal, ...rest }: Options & { body?: unknown } = {}
  ): Promise<Answer<T>> {
    return explained(signal, async () => {
      const deadline = AbortSignal.any([AbortSignal.timeout(timeout), ...(signal ? [signal] : [])])
      const response = await request(method, path, { ...rest, signal: deadline })
      return { body: (await answer(response)) as T, headers: response.headers }
    })
  }

  return {
    /** The handshake proves that we hold the certificate's key. */
    async register(email: string, { certificate }: Credentials, signal?: AbortSignal) {
      const body = { email, certificate }
      return (await call<{ client_id: string; email_verification?: 'pending' }>('POST', '/register', { body, signal }))
        .body
    },

    async unregister(signal?: AbortSignal) {
      await call('DELETE', '/register', { signal })
    },

    /** Says which certificate is valid. This call makes a proposed one valid. */
    async certificate(options?: Options) {
      return (await call<Validity & { pending: Validity | null }>('GET', '/certificate', options)).body
    },

    async proposeCertificate({ certificate }: Credentials, signal?: AbortSignal) {
      await call('POST', '/certificate', { body: { certificate }, signal })
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

    /** Who is online, live, until the tracker ends the stream. */
    async *events(signal: AbortSignal): AsyncGenerator<ServerEvent, void> {
      const response = await explained(signal, async () => {
        const response = await request('GET', '/broadcast/events', { signal, silence })
        if (response.statusCode !== 200) await answer(response)
        return response
      })
      try {
        yield* parseEvents(response)
      } catch (error) {
        signal.throwIfAborted()
        throw unreachable(error as Error)
      }
    },

    close() {
      // Also destroys connections that were being opened for an aborted call.
      agent.on('free', (socket) => socket.destroy()).destroy()
    }
  }
}

async function answer(response: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of response) {
    text += chunk
    if (text.length > MAX_ANSWER) throw new Error('its answer is too long')
  }
  const status = response.statusCode as number
  if (status === 204) return undefined
  const body = parseJson(text)
  if (status === 200 && body !== undefined) return body
  const { error, code } = (body ?? {}) as { error?: string; code?: string }
  const retryAfter = Number(response.headers['retry-after'])
  throw new TrackerError(error ?? `what answers there with status ${status} is not a tracker`, {
    status,
    code: code ?? 'not_a_tracker',
    ...(retryAfter > 0 && { retryAfter })
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
