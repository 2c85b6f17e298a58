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
     * Makes `reply` an event stream of who is online, except the watcher itself: first `list`, then `online` and `offline`.
     * It ends when the watcher's certificate is no longer valid, or when the server closes.
     *
     * @throws 503 if the process has no room for another watcher or is closing
     */
    watch: (reply: FastifyReply, watcher: { clientId: string; email: string; fingerprint: string }) => void
  }
}

/** Milliseconds for which changes are collected, to look them up with one query. */
const COLLECT = 50
/** Peers looked up by one query. */
const MAX_LOOKUP = 500
/** Changed peers that may wait to be looked up. Beyond that, every watcher gets a new list. */
const MAX_CHANGED = 50_000
/** Milliseconds between comments, and between checks of the watchers' certificates. */
const HEARTBEAT = 25_000
/** Milliseconds. */
const RETRY = 1000
/** Certificates checked at a time: as many as requests may be in flight. */
const CHECKS = 200
/** Each takes two of nginx's connections and up to 55 KB, of which 16 are the kernel's (docs/PERFORMANCE.md#memory). */
const MAX_WATCHERS = 5000

interface Watcher extends Reader, EventStream {
  email: string
  fingerprint: string
  /** What it is sent next from the change log, once it has its list. */
  position: number
}

interface Options {
  url: string
  /** Milliseconds. */
  heartbeat?: number
  max?: number
  /** Bytes of the change log. */
  maxBytes?: number
  maxChanged?: number
}

/**
 * The watchers and their events. A change names only the peer, whose broadcast is looked up afterwards, and a watcher's changes begin
 * before its list is read: so the last event about a peer is always right, and a list need not show a single moment. A watcher that falls
 * behind is disconnected, and reconnects.
 */
export default fp<Options>(
  async (fastify, { url, heartbeat = HEARTBEAT, max = MAX_WATCHERS, maxBytes, maxChanged = MAX_CHANGED }) => {
    const { log, repository } = fastify
    const watchers = new Set<Watcher>()
    const changed = new Set<string>()
    const changes = createChangeLog(maxBytes)
    const lists = createFirstLists(repository.list.everyone, (err) =>
      log.warn({ err }, 'list for watchers not read, retrying; new watchers wait for it')
    )
    watcherMetrics(fastify.metrics, () => watchers.size)
    /** Closes the change feed, which is open while there are watchers. */
    let feed = new AbortController()
    let isConnected = false
    let isLookingUp = false
    let isClosing = false

    fastify.decorate('watch', (reply, peer) => {
      if (isClosing || watchers.size === max)
        throw new ApiError('service_unavailable', { message: 'no more watchers fit' })
      reply.hijack()
      if (reply.raw.destroyed) return // the caller is gone already
      const stream = createEventStream(reply.raw, () => {
        lists.drained(watcher)
        sendChanges(watcher)
      })
      const watcher: Watcher = { ...peer, ...stream, position: 0, complete: () => sendChanges(watcher) }
      if (watchers.size === 0) openFeed()
      watchers.add(watcher)
      reply.raw.on('close', () => remove(watcher))
      if (isConnected) sendList(watcher)
    })

    /** Changes from now on follow the list. */
    function sendList(watcher: Watcher) {
      watcher.position = changes.end()
      lists.add(watcher)
    }

    /** Sends as many changes as a watcher with a complete list has room for. */
    function sendChanges(watcher: Watcher) {
      if (!watchers.has(watcher) || lists.has(watcher)) return
      while (watcher.position < changes.end() && !watcher.isFull() && !changes.isTooOld(watcher.position)) {
        const bytes = changes.at(watcher.position++, watcher.email)
        if (bytes.length > 0) watcher.write(bytes)
      }
    }

    function remove(watcher: Watcher) {
      lists.remove(watcher)
      if (!watchers.delete(watcher) || watchers.size > 0) return
      feed.abort()
      isConnected = false
    }

    function endAll(isOver: (watcher: Watcher) => boolean) {
      for (const watcher of [...watchers].filter(isOver)) {
        remove(watcher)
        watcher.end()
      }
    }

    function openFeed() {
      feed = new AbortController()
      const listener = {
        changed(email: string) {
          changed.add(email)
          if (changed.size > maxChanged) startOver()
          lookUp()
        },
        revoked: (fingerprint: string) => endAll((watcher) => watcher.fingerprint === fingerprint),
        connected: startOver,
        disconnected(err: unknown) {
          isConnected = false
          log.warn({ err }, 'change feed disconnected, retrying; watchers get a new list when it is back')
        }
      }
      followChangeFeed(url, listener, feed.signal, maxChanged + 1) // one too many, so that everybody gets a new list
      const timer = setInterval(checkWatchers, heartbeat)
      feed.signal.addEventListener('abort', () => clearInterval(timer))
    }

    /** After changes may have been missed: sends new lists, and disconnects watchers that have half of an old one. */
    function startOver() {
      isConnected = true
      changed.clear()
      changes.clear()
      for (const watcher of watchers) {
        if (lists.hasBegun(watcher)) {
          watcher.destroy()
          continue
        }
        lists.remove(watcher)
        sendList(watcher)
      }
    }

    /** One query at a time, so that no event is older than the one before it. */
    async function lookUp() {
      if (isLookingUp) return
      isLookingUp = true
      while (isConnected && changed.size > 0) {
        await pause(COLLECT)
        const emails = [...changed].slice(0, MAX_LOOKUP)
        for (const email of emails) changed.delete(email)
        try {
          changes.append(emails, await repository.broadcasts.findAll(emails))
          publish()
        } catch (err) {
          log.warn({ err }, 'changed broadcasts not read, retrying; watchers get the changes later')
          for (const email of emails) changed.add(email)
          await pause(RETRY)
        }
      }
      isLookingUp = false
    }

    function publish() {
      for (const watcher of watchers) {
        if (changes.isTooOld(watcher.position)) watcher.destroy()
        else sendChanges(watcher)
      }
    }

    /** Sends comments, and ends the streams of certificates that have expired or whose revocation the feed missed. */
    async function checkWatchers() {
      for (const watcher of watchers) watcher.heartbeat(!lists.hasBegun(watcher))
      try {
        const over = new Set<Watcher>()
        const check = async (watcher: Watcher) => {
          const client = await repository.clients.find(watcher.fingerprint)
          if (!client || client.isRevoked || client.state === 'expired') over.add(watcher)
        }
        const unchecked = [...watchers]
        while (unchecked.length > 0) await Promise.all(unchecked.splice(0, CHECKS).map(check))
        endAll((watcher) => over.has(watcher))
      } catch (err) {
        log.warn({ err }, 'certificates of watchers not checked, retrying in 25 s; watchers stay connected until then')
      }
    }

    fastify.addHook('preClose', async () => {
      isClosing = true
      endAll(() => true)
    })
  },
  { name: 'watchers', dependencies: ['repository', 'metrics'] }
)
