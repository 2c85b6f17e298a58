import { setTimeout as pause } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { createEventStream, type EventStream } from '../http/event-stream.ts'
import { watcherMetrics } from '../observability/metrics.ts'
import { ApiError } from '../runtime/error-catalogue.ts'
import { followChangeFeed } from './change-feed.repository.ts'
import { createChangeLog } from './change-log.ts'
import { createFirstLists, type Reader } from './first-lists.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Makes `reply` a live view of who is online, without the watcher itself: the event `list`, then `online` and `offline`.
     * It ends when the certificate is in force no more, and when the server closes.
     *
     * @throws 503 when as many watch as one process can take, and when the server closes
     */
    watch: (reply: FastifyReply, watcher: { clientId: string; email: string; fingerprint: string }) => void
  }
}

/** Milliseconds in which changes are gathered, so that many are one query. */
const GATHER = 50
/** Peers that one statement looks up. */
const MAX_LOOKUP = 500
/** Peers that may wait to be looked up. When there are more, everybody is sent a new list. */
const MAX_CHANGED = 50_000
/** Milliseconds between two comments, and between two looks at the certificates. */
const BEAT = 25_000
const RETRY = 1000
/** Certificates that are checked at once. */
const AT_ONCE = 200
/** Each takes up to 55 KB, of which 16 are the kernel's (docs/PERFORMANCE.md#memory), and two connections of nginx. */
const MAX_WATCHERS = 5000

interface Watcher extends Reader, EventStream {
  email: string
  fingerprint: string
  /** In the change log: what it is told next, once it has its list. */
  position: number
}

interface Options {
  url: string
  /** Milliseconds. */
  beat?: number
  max?: number
  /** Bytes of the change log. */
  maxBytes?: number
  maxChanged?: number
}

/**
 * Who watches, and what they are told. Changes only say whose broadcast to look at, and each is looked up after it happened,
 * after the list before it began: so the last event about a peer is always the truth, however many there were, and a list need not be
 * of one moment. Nobody is waited for, and what is kept for all of them together has a limit: who falls behind is cut off, and comes back.
 */
export default fp<Options>(
  async (fastify, { url, beat = BEAT, max = MAX_WATCHERS, maxBytes, maxChanged = MAX_CHANGED }) => {
    const { log, repository } = fastify
    const watchers = new Set<Watcher>()
    const changed = new Set<string>()
    const changes = createChangeLog(maxBytes)
    const onError = (err: unknown) =>
      log.warn({ err }, 'list for watchers not read, retrying; they wait for it meanwhile')
    const lists = createFirstLists(repository.list.everyone, onError)
    watcherMetrics(fastify.metrics, () => watchers.size)
    /** Ends the following of changes, which goes on while somebody watches. */
    let following = new AbortController()
    /** Whether changes are told at the moment. */
    let isFollowing = false
    let isAwake = false
    let isClosing = false

    fastify.decorate('watch', (reply, peer) => {
      if (isClosing || watchers.size === max)
        throw new ApiError('service_unavailable', { message: 'no more watchers fit' })
      reply.hijack()
      if (reply.raw.destroyed) return // it hung up before
      const stream = createEventStream(reply.raw, () => {
        lists.drained(watcher)
        tell(watcher)
      })
      const watcher: Watcher = { ...peer, ...stream, position: 0, complete: () => tell(watcher) }
      if (watchers.size === 0) follow()
      watchers.add(watcher)
      reply.raw.on('close', () => leave(watcher))
      if (isFollowing) begin(watcher)
    })

    /** It is sent a list, and then what changed from now on. */
    function begin(watcher: Watcher) {
      watcher.position = changes.end()
      lists.add(watcher)
    }

    /** Sends a watcher that has its list what happened since, as fast as it is read. */
    function tell(watcher: Watcher) {
      if (!watchers.has(watcher) || lists.has(watcher)) return
      while (watcher.position < changes.end() && !watcher.isFull() && !changes.isTooOld(watcher.position)) {
        const bytes = changes.at(watcher.position++, watcher.email)
        if (bytes.length > 0) watcher.write(bytes)
      }
    }

    function leave(watcher: Watcher) {
      lists.remove(watcher)
      if (!watchers.delete(watcher) || watchers.size > 0) return
      following.abort()
      isFollowing = false
    }

    function end(isOver: (watcher: Watcher) => boolean) {
      for (const watcher of [...watchers].filter(isOver)) {
        leave(watcher)
        watcher.end()
      }
    }

    function follow() {
      following = new AbortController()
      const listener = {
        changed(email: string) {
          changed.add(email)
          if (changed.size > maxChanged) startOver()
          wake()
        },
        revoked(fingerprint: string) {
          end((watcher) => watcher.fingerprint === fingerprint)
        },
        began: startOver,
        lost(err: unknown) {
          isFollowing = false
          log.warn({ err }, 'change feed disconnected, retrying; watchers get a new list when it is back')
        }
      }
      followChangeFeed(url, listener, following.signal, maxChanged + 1) // one too many says the rest
      const timer = setInterval(look, beat)
      following.signal.addEventListener('abort', () => clearInterval(timer))
    }

    /** Something may have been missed: everybody is sent a new list, and who was being sent one comes back for it. */
    function startOver() {
      isFollowing = true
      changed.clear()
      changes.clear()
      for (const watcher of watchers) {
        if (lists.hasBegun(watcher)) {
          watcher.destroy()
          continue
        }
        lists.remove(watcher)
        begin(watcher)
      }
    }

    /** One thing after the other: an event is never older than the one before it. */
    async function wake() {
      if (isAwake) return
      isAwake = true
      while (isFollowing && changed.size > 0) {
        await pause(GATHER)
        const emails = [...changed].slice(0, MAX_LOOKUP)
        for (const email of emails) changed.delete(email)
        try {
          await append(emails)
        } catch (err) {
          log.warn({ err }, 'changes not looked up, retrying; watchers are told when it succeeds')
          for (const email of emails) changed.add(email)
          await pause(RETRY)
        }
      }
      isAwake = false
    }

    async function append(emails: string[]) {
      changes.append(emails, await repository.broadcasts.findAll(emails))
      for (const watcher of watchers) {
        if (changes.isTooOld(watcher.position)) watcher.destroy()
        else tell(watcher)
      }
    }

    /** Sends the comments, and ends whose certificate is in force no more: what `revoked` did not tell, and what expired. */
    async function look() {
      for (const watcher of watchers) watcher.beat(!lists.hasBegun(watcher))
      try {
        const over = new Set<Watcher>()
        const lookAt = async (watcher: Watcher) => {
          const client = await repository.clients.find(watcher.fingerprint)
          if (!client || client.isRevoked || client.state === 'expired') over.add(watcher)
        }
        // No more at once than callers may make: each is a call that waits.
        const all = [...watchers]
        while (all.length > 0) await Promise.all(all.splice(0, AT_ONCE).map(lookAt))
        end((watcher) => over.has(watcher))
      } catch (err) {
        log.warn({ err }, 'certificates of watchers not checked, retrying in 25 s')
      }
    }

    fastify.addHook('preClose', async () => {
      isClosing = true
      end(() => true)
    })
  },
  { name: 'watchers', dependencies: ['repository', 'metrics'] }
)
