import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

export interface Peer {
  email: string
  /** PEM. */
  certificate: string
  /** PEM. */
  privateKey: string
}

/** Makes peers with their own keys and certificates, each of which takes milliseconds, in as many threads as there are cores. */
export async function createPeers(name: string, count: number): Promise<Peer[]> {
  const threads = availableParallelism()
  const parts = await Promise.all(
    Array.from({ length: threads }, async (_, index) => {
      const names = Array.from({ length: count }, (_, n) => `${name}-${n}`).filter((_, n) => n % threads === index)
      const [peers] = await once(
        new Worker(new URL('peers-worker.ts', import.meta.url), { workerData: names }),
        'message'
      )
      return peers as Peer[]
    })
  )
  return parts.flat()
}
