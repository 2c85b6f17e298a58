// Who is online and who is known: the list on the page.
import { explain } from './words.js'

/** People on the page. To call others, the user enters their address. */
const MAX_SHOWN = 100
/** Milliseconds for which changes are collected before they are sent to the page. */
const COLLECT = 100

export class People {
  /** Whether the tracker reports who is online, as an event for the page. */
  tracker = { type: 'tracker', isConnected: false, text: '' }
  #online = new Set()
  #peer
  #tell
  #first
  #isFollowing = false
  #timer

  /** @param first returns the addresses to list first */
  constructor(peer, tell, first) {
    this.#peer = peer
    this.#tell = tell
    this.#first = first
  }

  /** Follows who is online until the peer is closed. Does nothing if it already does. */
  async follow() {
    if (this.#isFollowing) return
    this.#isFollowing = true
    try {
      for await (const change of this.#peer.watch()) this.#take(change)
    } catch (error) {
      // Asking again does not help until the peer is online again.
      if (error.code !== 'closed') this.#setTracker(false, explain(error).text)
    }
    this.#isFollowing = false
  }

  /** The list: those you chat with or know, and those who went online last. */
  list() {
    const first = [...this.#first(), ...this.#peer.knownPeers.map(({ email }) => email)]
    const last = [...this.#online].slice(-MAX_SHOWN).reverse()
    const shown = [...new Set([...first, ...last])].slice(0, MAX_SHOWN).sort()
    return {
      type: 'people',
      people: shown.map((email) => ({ email, isOnline: this.#online.has(email) })),
      more: this.#online.size - shown.filter((email) => this.#online.has(email)).length
    }
  }

  #take(change) {
    if (change.type === 'connected') return this.#setTracker(true, '')
    if (change.type === 'disconnected') return this.#setTracker(false, explain(change.reason).text)
    if (change.type === 'list') this.#online = new Set(change.peers.map(({ email }) => email))
    if (change.type === 'online') this.#online.add(change.peer.email)
    if (change.type === 'offline') this.#online.delete(change.email)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#tell(this.list())
    }, COLLECT)
  }

  #setTracker(isConnected, text) {
    this.tracker = { type: 'tracker', isConnected, text }
    this.#tell(this.tracker)
  }
}
