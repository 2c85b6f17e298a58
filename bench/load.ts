import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Peer } from './peers.ts'

/** What all threads do until they are stopped: they await each answer, and send the next request at once. */
export interface Job {
  host: string
  port: number
  /** Sent in turn. */
  requests: Uint8Array[]
  /** Whether each is sent only once, after which the job ends. */
  once?: boolean
  /** What every answer has to have; any other ends the run. */
  status: number
  /** How many are kept open and used in turn, each by another peer. With 0, each request opens a new one. */
  connections: number
  /** Requests in flight at once. */
  concurrency: number
}

/** Times are in milliseconds, from before a new connection is opened or, on a kept one, the request is sent. */
export interface Outcome {
  /** Until the answer was complete. */
  times: number[]
  /** Until its first byte. */
  firstBytes: number[]
  /** Of all bodies. */
  bytes: number
  /** How long was measured. */
  elapsed: number
  /** Why the thread stopped: an unexpected answer, or none. */
  failure: string | undefined
}

/** `go`: the connections are open, begin; `measure`: forget what happened so far; `stop`: send no more, and report. */
export type Signal = 'go' | 'measure' | 'stop'

/** What a thread is started with. */
export interface Setup {
  index: number
  threads: number
  peers: Peer[]
}

export interface Timing {
  /** Milliseconds in which nothing is measured. */
  warmUp: number
  /** Milliseconds. */
  duration: number
}

export type Load = Awaited<ReturnType<typeof startLoad>>

/** Callers with these peers' certificates, in as many threads as the machine has cores. */
export async function startLoad(peers: Peer[]) {
  const threads = availableParallelism()
  const workers = Array.from(
    { length: threads },
    (_, index) =>
      new Worker(new URL('worker.ts', import.meta.url), { workerData: { index, threads, peers } satisfies Setup })
  )
  const tell = (message: Job | Signal) => {
    for (const worker of workers) worker.postMessage(message)
  }
  /** Rejects with the first thread that fails. */
  const answers = async () => Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]))
  await answers()

  return {
    /**
     * Does a job and measures it.
     *
     * @param look called when the measurement begins, and again when it ends; `once` has no warm-up
     * @returns the outcome of each thread, and what `look` returned
     * @throws Error when one request failed, since a failure does not cost what the work costs
     */
    async run<T>(job: Job, { warmUp, duration }: Timing, look: () => Promise<T>) {
      tell(job)
      await answers()
      const ended: Promise<Outcome[]> = answers()
      let before = await look()
      tell('go')
      if (!job.once) {
        await Promise.race([pause(warmUp), ended])
        before = await look()
        tell('measure')
      }
      await Promise.race(job.once ? [ended] : [pause(duration), ended])
      const after = await look()
      tell('stop')
      const outcomes = await ended
      const failed = outcomes.find(({ failure }) => failure !== undefined)
      if (failed) throw new Error(failed.failure)
      return { outcomes, before, after }
    },
    stop: () => Promise.all(workers.map((worker) => worker.terminate()))
  }
}
