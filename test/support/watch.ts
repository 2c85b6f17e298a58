import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { Test } from 'tap'
import { something } from './eventually.ts'
import { edgeHeader, type Peer } from './peers.ts'

interface Event {
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: the tests say what they expect
  data: any
}

/** Reads Server-Sent Events as https://html.spec.whatwg.org/multipage/server-sent-events.html has it. */
export async function watch(t: Test, url: string, options: https.RequestOptions = {}) {
  const { get } = url.startsWith('https:') ? https : http
  const req = get(url, { agent: false, rejectUnauthorized: false, ...options })
  const [response] = (await once(req, 'response')) as [IncomingMessage]
  t.teardown(() => response.destroy())
  const events: Event[] = []
  let comments = 0
  let text = ''
  response.setEncoding('utf8').on('data', (chunk) => {
    text += chunk
    const blocks = text.split('\n\n')
    text = blocks.pop() as string
    for (const block of blocks) {
      const fields = (name: string) =>
        block
          .split('\n')
          .filter((line) => line.startsWith(`${name}: `))
          .map((line) => line.slice(name.length + 2))
      if (block === ':') comments++
      const [name] = fields('event')
      if (name) events.push({ name, data: JSON.parse(fields('data').join('\n')) })
    }
  })
  response.on('error', () => {}) // it was cut off
  const ended = new Promise((resolve) => response.once('close', resolve))
  return {
    response,
    ended,
    events,
    comments: () => comments,
    /** The next event, taken off the list. */
    next: () => something(() => events.shift())
  }
}

/** Without TLS the certificate travels in the edge's header. */
export function watchAs(t: Test, origin: string, peer: Peer) {
  const identity = origin.startsWith('https:')
    ? { cert: peer.certificate, key: peer.privateKey }
    : { headers: edgeHeader(peer) }
  return watch(t, `${origin}/api/relay/broadcast/events`, identity)
}
