import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import type { LookupFunction } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Reply } from './http-client.ts'
import { createPeer, type Peer } from './peers.ts'
import type { Stack } from './stack.ts'

/** One call as its caller saw it. Times are those of `Date.now()`. */
export interface Outcome {
  kind: 'ready' | 'register'
  /** The e-mail address of the peer; empty for the caller that registers others. */
  caller: string
  start: number
  end: number
  /** 0 when there was no answer: then `failure` says why. */
  status: number
  failure?: string
  retryAfter?: string | undefined
}

interface Options {
  peers?: number
  /** Milliseconds that a peer rests after an answer, on average. */
  rest?: number
  /** Every how many announcements one is made on a new connection instead of the kept one. */
  newConnectionEvery?: number
  /** Whether one more caller registers new peers all the time. */
  registrations?: boolean
  /** IPv4 addresses of the origin's host: callers take any, and the next one when nobody answers. */
  addresses?: string[]
  /**
   * Whether a call is repeated when its kept connection was closed under it (RFC 9112, section 9.3.1), as clients do: nginx closes idle
   * connections when it reloads its configuration.
   */
  repeats?: boolean
}

export type Load = Awaited<ReturnType<typeof startLoad>>

/** Milliseconds after which a caller gives up: well over the 3 s within which an answer is due. */
const PATIENCE = 10_000
/** Milliseconds that a peer waits after a failure. */
const BACKOFF = 100

/**
 * Peers with certificates of their own, each of which announces one number after another, and one caller that registers new peers.
 * Each has at most one call in flight. What fails is counted, not repeated.
 */
export async function startLoad(
  origin: string,
  {
    peers: count = 16,
    rest = 20,
    newConnectionEvery = 10,
    registrations = true,
    addresses,
    repeats = false
  }: Options = {}
) {
  const outcomes: Outcome[] = []
  /** By e-mail address, the last number that the peer knows to be stored. */
  const acknowledged = new Map<string, number>()
  /** `client_id` of every peer whose registration was answered with 200. */
  const registered: string[] = []
  let isRunning = true

  const post = poster(addresses, repeats)

  async function call(kind: Outcome['kind'], path: string, agent: https.Agent | false, body: object, as?: Peer) {
    const start = Date.now()
    const caller = as?.email ?? ''
    try {
      const answer = await post(`${origin}/api/relay${path}`, agent, body, as)
      outcomes.push({ kind, caller, start, end: Date.now(), status: answer.status, retryAfter: answer.retryAfter })
      return answer
    } catch (error) {
      const failure = String((error as { code?: unknown }).code ?? (error as Error).message)
      outcomes.push({ kind, caller, start, end: Date.now(), status: 0, failure })
      return undefined
    }
  }

  const settle = (isDone: boolean) => pause(isDone ? 2 * rest * Math.random() : BACKOFF)

  async function announce(peer: Peer) {
    const kept = keptAgent()
    for (let n = 1; isRunning; n++) {
      const agent = n % newConnectionEvery === 0 ? false : kept
      const body = { port: 54321, addresses: ['192.168.1.20'], capabilities: { n } }
      const isDone = (await call('ready', '/broadcast/ready', agent, body, peer))?.status === 200
      if (isDone) acknowledged.set(peer.email, n)
      await settle(isDone)
    }
    kept.destroy()
  }

  async function register() {
    const kept = keptAgent()
    while (isRunning) {
      const { email, certificate } = await newPeer()
      const answer = await call('register', '/register', kept, { email, certificate })
      if (answer?.status === 200) registered.push(answer.body.client_id)
      await settle(answer?.status === 200)
    }
    kept.destroy()
  }

  const peers = await Promise.all(Array.from({ length: count }, newPeer))
  for (const peer of peers) {
    const { email, certificate } = peer
    const { status } = await post(`${origin}/api/relay/register`, false, { email, certificate })
    if (status !== 200) throw new Error(`a peer of the load was not registered: ${status}`)
  }
  const running = Promise.all([...peers.map(announce), ...(registrations ? [register()] : [])])

  return {
    outcomes,
    acknowledged,
    registered,
    /** Resolves when every call in flight is answered. Unless it is called, the peers go on forever. */
    async stop() {
      isRunning = false
      await running
    }
  }
}

let made = 0
const newPeer = () => createPeer(`load-${process.pid}-${Date.now().toString(36)}-${made++}`)
const keptAgent = () => new https.Agent({ keepAlive: true, maxSockets: 1 })

interface Answer {
  status: number
  retryAfter: string | undefined
  body: Reply['body']
}

/** Posts to the given addresses instead of those that the host's name has. */
function poster(addresses: string[] | undefined, repeats: boolean) {
  const all = addresses?.map((address) => ({ address, family: 4 }))
  const lookup: LookupFunction | undefined = all && ((_host, _options, found) => found(null, shuffled(all)))
  return async function post(url: string, agent: https.Agent | false, body: object, as?: Peer): Promise<Answer> {
    const req = https.request(url, {
      agent,
      lookup,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      rejectUnauthorized: false,
      ...(as && { cert: as.certificate, key: as.privateKey }),
      signal: AbortSignal.timeout(PATIENCE)
    })
    req.end(JSON.stringify(body))
    let response: IncomingMessage
    try {
      ;[response] = await once(req, 'response')
    } catch (error) {
      if (!repeats || !req.reusedSocket || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
      return post(url, agent, body, as)
    }
    const text = (await response.setEncoding('utf8').toArray()).join('')
    return {
      status: response.statusCode as number,
      retryAfter: response.headers['retry-after'] as string | undefined,
      body: JSON.parse(text)
    }
  }
}

function shuffled<T>(things: T[]): T[] {
  return things
    .map((thing) => ({ thing, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ thing }) => thing)
}

/** The callers that occur more than once. */
export function repeated(outcomes: Outcome[]): string[] {
  const callers = outcomes.map(({ caller }) => caller)
  return callers.filter((caller, n) => callers.indexOf(caller) !== n)
}

/** What callers were told is stored, but is not. */
export async function lostIn({ query }: Pick<Stack, 'query'>, { acknowledged, registered }: Load) {
  const stored = await query(`
    select c.id, c.email, b.capabilities ->> 'n' from clients c left join broadcasts b on b.client_id = c.id`)
  const ids = new Set(stored.map(([id]) => id))
  const numbers = new Map(stored.map(([, email, n]) => [email, Number(n)]))
  return [
    ...registered.filter((id) => !ids.has(id)),
    ...[...acknowledged].filter(([email, n]) => !((numbers.get(email) ?? 0) >= n)).map(([email]) => email)
  ]
}
