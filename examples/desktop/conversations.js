// Conversations with other peers: a line is a message, and an empty line is a sign of life.
import { peerFingerprint } from 'relay-tracker/peer'
import { explain } from './words.js'

/** Characters. A peer that sends a longer line is cut off. */
const MAX_LINE = 4000
/** Characters of a conversation that are kept. */
const MAX_KEPT = 64 * 1024
const MAX_CONVERSATIONS = 50
/** Bytes that a peer has not received yet. */
const MAX_UNSENT = 256 * 1024
/** Milliseconds. TCP alone can take a quarter of an hour to notice that a peer has vanished, and only if something was sent. */
const SIGN_OF_LIFE = 15_000
const SILENCE = 45_000

export class Conversations {
  #peer
  #tell
  #byEmail = new Map()

  constructor(peer, tell) {
    this.#peer = peer
    this.#tell = tell
  }

  get emails() {
    return [...this.#byEmail.keys()]
  }

  /** Whether another peer may call. */
  get hasRoom() {
    return this.#byEmail.size < MAX_CONVERSATIONS || this.#idle() !== undefined
  }

  /** Events for a page that was just opened. */
  snapshot() {
    return [...this.#byEmail.values()].flatMap((conversation) => [status(conversation), ...conversation.lines])
  }

  /** Connects to a peer, unless it is connected. Resolves at once: the page gets `conversation` events. */
  async call(email) {
    if (typeof email !== 'string') throw new Error('There is no e-mail address.')
    const conversation = this.#get(email.trim().toLowerCase())
    if (conversation.calling || conversation.sockets.length > 0) return
    const calling = new AbortController()
    conversation.calling = calling
    conversation.problem = undefined
    this.#tell(status(conversation))
    this.#connect(conversation, calling)
  }

  /** Sends a line. */
  say(email, text) {
    const conversation = this.#byEmail.get(email)
    const socket = conversation?.sockets.at(-1)
    if (!socket) throw new Error('You are not connected.')
    const line = String(text)
      .replaceAll(/\s*\n\s*/g, ' ')
      .trim()
    if (line === '') return
    if (line.length > MAX_LINE)
      throw new Error(`A message can have at most ${MAX_LINE} characters; this one has ${line.length}.`)
    if (socket.writableLength > MAX_UNSENT)
      throw new Error(`${email} is not receiving anything at the moment. Try again later.`)
    socket.write(`${line}\n`)
    this.#add(conversation, 'me', line)
  }

  hangUp(email) {
    const conversation = this.#byEmail.get(email)
    conversation?.calling?.abort()
    for (const socket of conversation?.sockets ?? []) {
      conversation.isHungUp = true
      socket.destroySoon() // after it has sent everything
    }
  }

  /** Shows a problem with a peer that called. */
  warn(email, error) {
    const conversation = this.#get(email)
    conversation.problem = explain(error, email)
    this.#tell(status(conversation))
  }

  /** Takes a connection with a peer, and shows what it sends until it ends. If both have called, there are two. */
  async take(socket, email) {
    const conversation = this.#get(email)
    conversation.fingerprint = peerFingerprint(socket)
    conversation.problem = undefined
    conversation.isHungUp = false
    conversation.sockets.push(socket)
    this.#tell(status(conversation))
    const alive = setInterval(() => socket.write('\n'), SIGN_OF_LIFE)
    socket.write('\n')
    let silence
    let end = `${email} has left.`
    try {
      for await (const line of lines(socket)) {
        if (line !== '') this.#add(conversation, 'peer', line)
        // Not `socket.setTimeout`, which counts what this side sends as life.
        clearTimeout(silence)
        silence = setTimeout(() => socket.destroy(new Error('nothing arrived for too long')), SILENCE)
      }
    } catch (error) {
      end = `The connection broke: ${error.message}. Your last messages may not have arrived.`
    }
    clearInterval(alive)
    clearTimeout(silence)
    socket.destroy()
    conversation.sockets = conversation.sockets.filter((other) => other !== socket)
    if (conversation.sockets.length > 0) return
    this.#add(conversation, 'note', conversation.isHungUp ? 'You hung up.' : end)
    this.#tell(status(conversation))
  }

  close() {
    for (const email of this.emails) this.hangUp(email)
  }

  async #connect(conversation, calling) {
    const { email } = conversation
    try {
      const socket = await this.#peer.connect(email, { signal: calling.signal })
      conversation.calling = undefined
      await this.take(socket, email)
    } catch (error) {
      conversation.calling = undefined
      conversation.problem = calling.signal.aborted ? undefined : explain(error, email)
      this.#tell(status(conversation))
    }
  }

  #get(email) {
    const conversation = this.#byEmail.get(email) ?? { email, lines: [], sockets: [] }
    this.#byEmail.set(email, conversation)
    if (this.#byEmail.size > MAX_CONVERSATIONS) {
      const idle = this.#idle(email)
      this.#byEmail.delete(idle)
      this.#tell({ type: 'forgotten', email: idle })
    }
    return conversation
  }

  /** The oldest conversation in which nothing happens. */
  #idle(except) {
    return this.emails.find((email) => {
      const { calling, sockets } = this.#byEmail.get(email)
      return email !== except && !calling && sockets.length === 0
    })
  }

  #add(conversation, from, text) {
    const { email, lines } = conversation
    const line = { type: 'line', email, from, text, at: Date.now() }
    lines.push(line)
    let kept = lines.reduce((sum, { text }) => sum + text.length + 100, 0)
    while (kept > MAX_KEPT) kept -= lines.shift().text.length + 100
    this.#tell(line)
  }
}

function status({ email, calling, sockets, fingerprint, problem }) {
  const name = sockets.length > 0 ? 'connected' : calling ? 'calling' : 'closed'
  return { type: 'conversation', email, status: name, fingerprint, problem }
}

/** The lines that a peer sends. */
async function* lines(socket) {
  let rest = ''
  for await (const chunk of socket.setEncoding('utf8')) {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop()
    for (const line of parts) yield bounded(line)
    bounded(rest)
  }
}

function bounded(line) {
  if (line.length > MAX_LINE) throw new Error('a line was too long')
  return line
}
