import { once } from 'node:events'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'
import type { Job, Outcome, Setup, Signal } from './load.ts'
import { Response } from './response.ts'

/**
 * One thread of the load: sends the requests of a job over raw TLS sockets. It does without `node:https`, and requests are made beforehand,
 * because on one machine the service lacks whatever the load costs.
 */
const { index, threads, peers } = workerData as Setup

/** Milliseconds without a byte after which a connection counts as dead, and the run fails. */
const PATIENCE = 10_000

/** This thread's part of something that all threads share evenly. */
const share = (total: number) => Math.floor((total + threads - 1 - index) / threads)
const isOwn = (_: unknown, n: number) => n % threads === index

const contexts = peers
  .filter(isOwn)
  .map(({ certificate, privateKey }) => createSecureContext({ cert: certificate, key: privateKey }))

const main = parentPort as NonNullable<typeof parentPort>
let isRunning = false
let go: () => void
let outcome: Outcome
let began: number

main.on('message', (message: Job | Signal) => {
  if (message === 'go') go()
  else if (message === 'measure') measure()
  else if (message === 'stop') isRunning = false
  else run(message)
})
main.postMessage('ready')

function measure() {
  outcome = { times: [], firstBytes: [], bytes: 0, elapsed: 0, failure: undefined }
  began = performance.now()
}

async function run(job: Job) {
  // Every request is sent by one of the threads.
  const requests = job.requests.length < threads ? job.requests : job.requests.filter(isOwn)
  const idle = Array.from({ length: share(job.connections) }, (_, n) => new Connection(job, contextOf(n)))
  let failure: string | undefined
  const fail = (error: Error) => {
    failure ??= error.message
    isRunning = false
  }
  await Promise.all(idle.map(({ socket }) => once(socket, 'secureConnect'))).catch(fail)
  const gone = new Promise<void>((resolve) => {
    go = resolve
  })
  main.postMessage('ready')
  await gone
  measure()
  isRunning = failure === undefined

  let next = 0
  async function send() {
    while (isRunning && !(job.once && next >= requests.length)) {
      const n = next++
      const start = performance.now()
      // The connection that has been idle longest, so that all are used.
      const connection = job.connections ? (idle.shift() as Connection) : new Connection(job, contextOf(n))
      const response = await connection.exchange(requests[n % requests.length] as Uint8Array)
      if (response.status !== job.status) throw new Error(`the answer was ${response.status}, not ${job.status}`)
      outcome.times.push(performance.now() - start)
      outcome.firstBytes.push(connection.firstByte - start)
      outcome.bytes += response.bytes
      // nginx closes a connection after 1,000 requests; the handshake of the next one takes its time.
      if (job.connections) idle.push(response.isLast ? new Connection(job, connection.context) : connection)
    }
  }
  await Promise.all(Array.from({ length: share(job.concurrency) }, () => send().catch(fail)))
  outcome.elapsed = performance.now() - began
  outcome.failure = failure
  for (const { socket } of idle) socket.destroy()
  main.postMessage(outcome)
}

function contextOf(n: number) {
  return contexts[n % contexts.length] as SecureContext
}

class Connection {
  socket: TLSSocket
  context: SecureContext
  /** When the first byte of the last response arrived. */
  firstByte = 0
  #waiting: { response: Response; resolve: (response: Response) => void; reject: (error: Error) => void } | undefined

  constructor({ host, port }: Job, context: SecureContext) {
    this.context = context
    // The server's certificate is self-made; its signature is checked anyway.
    this.socket = connect({ host, port, secureContext: context, rejectUnauthorized: false })
    this.socket.setTimeout(PATIENCE, () => this.socket.destroy(new Error(`nothing came for ${PATIENCE} ms`)))
    this.socket.on('data', (data) => this.#take(data))
    this.socket.on('error', (error) => this.#fail(error))
    this.socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  exchange(request: Uint8Array) {
    return new Promise<Response>((resolve, reject) => {
      this.firstByte = 0
      this.#waiting = { response: new Response(), resolve, reject }
      this.socket.write(request)
    })
  }

  #take(data: Buffer) {
    if (!this.#waiting) throw new Error('bytes that nobody asked for')
    this.firstByte ||= performance.now()
    const { response, resolve } = this.#waiting
    if (!response.push(data)) return
    this.#waiting = undefined
    resolve(response)
  }

  #fail(error: Error) {
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }
}
