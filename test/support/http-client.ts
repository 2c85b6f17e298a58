import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { TLSSocket } from 'node:tls'
import { eventually } from './eventually.ts'
import type { Peer } from './peers.ts'

export interface Reply {
  status: number
  headers: http.IncomingHttpHeaders
  /** Whether the TLS handshake resumed an earlier session. */
  isResumed: boolean
  // biome-ignore lint/suspicious/noExplicitAny: the tests say what they expect
  body: any
}

export interface Call {
  method?: string
  /** Sent as JSON, but a string or a Buffer as it is. */
  body?: unknown
  headers?: http.OutgoingHttpHeaders
  /** The peer whose certificate the TLS handshake presents. */
  as?: Peer | undefined
  agent?: https.Agent
}

/** Sends one request, however odd, on a connection of its own. */
export async function send(url: string, { body, as, headers = {}, ...options }: Call = {}): Promise<Reply> {
  const raw = typeof body === 'string' || Buffer.isBuffer(body)
  const payload = body === undefined || raw ? body : JSON.stringify(body)
  const { request } = url.startsWith('https:') ? https : http
  const req = request(url, {
    agent: false,
    rejectUnauthorized: false,
    ...(as && { cert: as.certificate, key: as.privateKey }),
    method: payload === undefined ? 'GET' : 'POST',
    headers: { ...(payload !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...options
  })
  req.end(payload)
  const [response] = (await once(req, 'response')) as [http.IncomingMessage]
  const isResumed = (response.socket as TLSSocket).isSessionReused?.() ?? false
  const text = (await response.setEncoding('utf8').toArray()).join('')
  const isJson = response.headers['content-type']?.startsWith('application/json')
  return {
    status: response.statusCode as number,
    headers: response.headers,
    isResumed,
    body: isJson && options.method !== 'HEAD' ? JSON.parse(text) : text
  }
}

/** Asks until the answer has that status. */
export function untilStatus(status: number, ask: () => Promise<Reply | undefined>, seconds?: number) {
  return eventually(ask, (reply) => reply?.status === status, seconds) as Promise<Reply>
}

/** The answer 304 to the answer's own tag. Whatever is written to the same server meanwhile, even by other tests, costs a 200. */
export function unchanged(first: () => Promise<Reply>, again: (tag: string) => Promise<Reply>) {
  return untilStatus(304, async () => again(String((await first()).headers.etag)))
}
