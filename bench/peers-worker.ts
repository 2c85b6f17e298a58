import { parentPort, workerData } from 'node:worker_threads'
import { createSelfSigned } from '../peer/src/self-signed.ts'
import type { Peer } from './peers.ts'

/** One thread of `createPeers`. */
const peers: Peer[] = []
for (const commonName of workerData as string[]) {
  peers.push({ email: `${commonName}@example.com`, ...(await createSelfSigned({ commonName })) })
}
parentPort?.postMessage(peers)
