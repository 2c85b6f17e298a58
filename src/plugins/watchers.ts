import { setTimeout as pause } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { createEventStream, type EventStream, formatEvent } from '../event-stream.ts'
import { watcherMetrics } from '../metrics.ts'
import type { Broadcast } from '../repository/broadcasts.ts'
import { followChanges } from '../repository/changes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Makes `reply` a live view of who is online, without the watcher itself: the event `list`, then `online` and `offline`.
     * It ends when the certificate is in force no more, and when the server closes.
     *
     * @throws 503 when as many watch as one process can take, and when the server closes
     */
    watch: (reply: FastifyReply, watcher: { email: string; fingerprint: string }) => void
  }
}

/** Milliseconds in which changes are gathered, so that many are one query. */
const GATHER = 50
/** Milliseconds between two comments, and between two looks at the certificates. */
const BEAT = 25_000
const RETRY = 1000
/** Each takes about 20 KB here, and two connections of nginx. */
const MAX_WATCHERS = 10_000

interface Watcher {
  email: string
  fingerprint: string
  stream: EventStream
  /** Whether it has a list that is the truth together with the events since. */
  hasList: boolean
}

/**
 * Who watches, and what they are told. Changes only say whose broadcast to look at, and each is looked up after it happened,
 * after the list before it: so the last event about a peer is always the truth, however many there were, and a list need not be
 * of one moment.
 */
export default fp<{ url: string; beat?: number; max?: number }>(
  async (fastify, { url, beat = BEAT, max = MAX_WATCHERS }) => {
    const { log, repository } = fastify
    const watchers = new Set<Watcher>()
    const changed = new Set<string>()
    watcherMetrics(fastify.metrics, () => watchers.size)
    /** Ends the following of changes, which goes on while somebody watches. */
    let following = new AbortController()
    /** Stands for the time in which no change was missed; undefined while changes are missed. */
    let era: symbol | undefined
    let isAwake = false
    let isClosing = false

    fastify.decorate('watch', (reply, { email, fingerprint }) => {
      if (isClosing || watchers.size === max) throw problem(503, 'service_unavailable', 'nobody more can watch')
      reply.hijack()
      if (reply.raw.destroyed) return // it hung up before
      const watcher = { email, fingerprint, stream: createEventStream(reply.raw), hasList: false }
      if (watchers.size === 0) follow()
      watchers.add(watcher)
      reply.raw.on('close', () => leave(watcher))
      wake()
    })

    const newcomers = () => [...watchers].filter(({ hasList }) => !hasList)

    function leave(watcher: Watcher) {
      if (!watchers.delete(watcher) || watchers.size > 0) return
      following.abort()
      era = undefined
    }

    function end(isOver: (watcher: Watcher) => boolean) {
      for (const watcher of [...watchers].filter(isOver)) {
        leave(watcher)
        watcher.stream.end()
      }
    }

    function follow() {
      following = new AbortController()
      const listener = {
        changed(email: string) {
          changed.add(email)
          wake()
        },
        revoked(fingerprint: string) {
          end((watcher) => watcher.fingerprint === fingerprint)
        },
        began() {
          era = Symbol('era')
          changed.clear()
          for (const watcher of watchers) watcher.hasList = false
          wake()
        },
        lost(err: unknown) {
          era = undefined
          log.warn({ err }, 'changes are missed until the database is back')
        }
      }
      followChanges(url, listener, following.signal)
      const timer = setInterval(look, beat)
      following.signal.addEventListener('abort', () => clearInterval(timer))
    }

    /** One thing after the other: an event is never older than the list before it. */
    async function wake() {
      if (isAwake) return
      isAwake = true
      while (era && (changed.size > 0 || newcomers().length > 0)) {
        await pause(GATHER)
        try {
          await tellChanges()
          await tellLists()
        } catch (err) {
          log.warn({ err }, 'watchers are told later')
          for (const watcher of watchers) watcher.hasList = false
          await pause(RETRY)
        }
      }
      isAwake = false
    }

    async function tellChanges() {
      const emails = [...changed]
      changed.clear()
      if (emails.length === 0) return
      const online = new Map<string, string>()
      for (const { email, json } of await repository.broadcasts.findAll(emails)) online.set(email, json)
      for (const email of emails) {
        const json = online.get(email)
        const event = json ? formatEvent('online', json) : formatEvent('offline', JSON.stringify({ email }))
        for (const watcher of watchers) {
          if (watcher.hasList && watcher.email !== email) watcher.stream.send(event)
        }
      }
    }

    async function tellLists() {
      const before = era
      if (newcomers().length === 0) return
      const pages = await Array.fromAsync(repository.broadcasts.everyone())
      const listFor = formatList(pages.flat())
      for (const watcher of newcomers()) {
        watcher.stream.send(...listFor(watcher.email))
        // What happened between two eras is in neither of them.
        watcher.hasList = era === before
      }
    }

    /** Sends the comments, and ends whose certificate is in force no more: what `revoked` did not tell, and what expired. */
    async function look() {
      for (const { stream } of watchers) stream.beat()
      try {
        const over = new Set<Watcher>()
        const lookAt = async (watcher: Watcher) => {
          const client = await repository.clients.find(watcher.fingerprint)
          if (!client || client.isRevoked || client.state === 'expired') over.add(watcher)
        }
        await Promise.all([...watchers].map(lookAt))
        end((watcher) => over.has(watcher))
      } catch (err) {
        log.warn({ err }, 'certificates are looked at later')
      }
    }

    fastify.addHook('preClose', async () => {
      isClosing = true
      end(() => true)
    })
  },
  { name: 'watchers', dependencies: ['database', 'metrics'] }
)

const LIST_HEAD = Buffer.from('event: list\ndata: [\ndata: ')
const SEPARATOR = 'data: ,'
const LIST_TAIL = Buffer.from('data: ]\n\n')

/** The event `list` for each watcher, without itself, of bytes that all of them share. */
function formatList(broadcasts: Broadcast[]) {
  const places = new Map<string, [number, number]>()
  let length = 0
  const entries = broadcasts.map(({ email, json }) => {
    const entry = Buffer.from(`${SEPARATOR}${json}\n`)
    places.set(email, [length, length + entry.length])
    length += entry.length
    return entry
  })
  const all = Buffer.concat(entries)
  return (email: string): Buffer[] => {
    const [start, end] = places.get(email) ?? [length, length]
    const [first, ...rest] = [all.subarray(0, start), all.subarray(end)].filter((part) => part.length > 0)
    return first ? [LIST_HEAD, first.subarray(SEPARATOR.length), ...rest, LIST_TAIL] : [formatEvent('list', '[]')]
  }
}
