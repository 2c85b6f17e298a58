import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import https from 'node:https'
import { TrackerError } from '../errors.ts'
import type { Credentials } from '../identity/identity.ts'
import { createTrackerClock } from './tracker-clock.ts'

/** Milliseconds. */
const TIMEOUT = 10_000
/** Characters of an answer; a page of the list has at most some 5 MB. */
const MAX_ANSWER = 16 * 1024 * 1024
/** Node.js's codes for a server's certificate that it does not accept (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const UNTRUSTED = /^(?!ERR_SSL).*(CERT|UNABLE_TO_|CRL|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH)/

export interface RequestOptions {
  signal?: AbortSignal | undefined
  /** Credentials other than those in use. */
  as?: Credentials
  body?: unknown
  /** Milliseconds without data after which the answer ends with an error. */
  silence?: number
}

export interface Answer<T> {
  body: T
  headers: IncomingHttpHeaders
}

export type TrackerRequests = ReturnType<typeof createTrackerRequests>

/**
 * Requests to the tracker. Each presents the credentials that are in use when it starts.
 *
 * @param options.ca PEM, if the tracker's certificate is not from a public authority
 * @param options.timeout milliseconds for a complete answer, or for a stream to begin
 */
export function createTrackerRequests(options: {
  url: string
  ca?: string | undefined
  credentials: () => Credentials
  timeout?: number
}) {
  const { url, credentials, timeout = TIMEOUT } = options
  const base = new URL('/api/relay', url).href
  const clock = createTrackerClock()
  let agent = createAgent(options.ca)

  async function request(method: string, path: string, options: RequestOptions): Promise<IncomingMessage> {
    const { body, signal, silence, as = credentials() } = options
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
    if (silence) send.on('timeout', () => send.destroy(new Error('it sent nothing for too long')))
    send.end(body === undefined ? undefined : JSON.stringify(body))
    try {
      const [response] = (await once(send, 'response')) as [IncomingMessage]
      clock.set(response.headers.date)
      return response.setEncoding('utf8')
    } catch (error) {
      // The tracker closed a kept-alive connection in the same moment. Every call may be repeated.
      if (!send.reusedSocket || signal?.aborted) throw error
      return request(method, path, options)
    }
  }

  /** Turns every failure but the signal's into a TrackerError. */
  async function explained<T>(signal: AbortSignal | undefined, act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      signal?.throwIfAborted()
      throw error instanceof TrackerError ? error : noAnswer(error as Error)
    }
  }

  function noAnswer(cause: Error) {
    // An AbortError's own message says nothing, and an AggregateError has none.
    const { message, code = '', cause: reason } = cause as NodeJS.ErrnoException & { cause?: Error }
    const why = [reason?.message, message, code].find(Boolean)?.trim()
    const isUntrusted = UNTRUSTED.test(code)
    return new TrackerError(
      isUntrusted
        ? `what answers at ${url} cannot prove that it is the tracker: ${why}${clock.hint(code)}`
        : `the tracker at ${url} cannot be reached: ${why}`,
      { status: 0, code: isUntrusted ? 'tracker_untrusted' : 'tracker_unreachable', cause }
    )
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
    const { error, code = 'not_a_tracker' } = (body ?? {}) as { error?: string; code?: string }
    const retryAfter = Number(response.headers['retry-after'])
    const what = error ?? `what answers at ${url} with status ${status} is not a tracker`
    throw new TrackerError(what + clock.hint(code), { status, code, ...(retryAfter > 0 && { retryAfter }) })
  }

  return {
    /** Milliseconds since 1970 by the tracker's clock, which decides what is valid; by this machine's until the first answer. */
    now: clock.now,

    /** Makes a call. Throws a TrackerError, or the signal's reason. */
    call<T>(method: string, path: string, { signal, ...rest }: RequestOptions = {}): Promise<Answer<T>> {
      return explained(signal, async () => {
        const deadline = AbortSignal.any([AbortSignal.timeout(timeout), ...(signal ? [signal] : [])])
        const response = await request(method, path, { ...rest, signal: deadline })
        return { body: (await answer(response)) as T, headers: response.headers }
      })
    },

    /** Opens a stream, and reads it to its end. Throws a TrackerError, or the signal's reason. */
    async *stream<T>(
      path: string,
      {
        signal,
        silence,
        parse
      }: { signal: AbortSignal; silence: number; parse: (chunks: AsyncIterable<string>) => AsyncIterable<T> }
    ): AsyncGenerator<T, void> {
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(new Error('no answer in time')), timeout)
      const response = await explained(signal, async () => {
        const response = await request('GET', path, { signal: AbortSignal.any([signal, late.signal]), silence })
        if (response.statusCode !== 200) await answer(response)
        return response
      }).finally(() => clearTimeout(timer))
      try {
        yield* parse(response)
      } catch (error) {
        signal.throwIfAborted()
        throw noAnswer(error as Error)
      }
    },

    /** Changes the authority that signs the tracker's certificate, from the next request on. */
    setCa(ca: string | undefined) {
      end(agent)
      agent = createAgent(ca)
    },

    close() {
      end(agent)
    }
  }
}

/** Uses a proxy if Node.js was told to (`NODE_USE_ENV_PROXY=1`, `--use-env-proxy`). */
function createAgent(ca: string | undefined) {
  const { proxyEnv } = https.globalAgent.options as https.AgentOptions
  return new https.Agent({ keepAlive: true, ...(proxyEnv && { proxyEnv }), ...(ca && { ca }) })
}

function end(agent: https.Agent) {
  // Also destroys connections that were being opened for an aborted call.
  agent.on('free', (socket) => socket.destroy()).destroy()
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
