import { RelayPeer } from '../index.ts'

/** Opens the identity in `dir` while `use` runs. */
export async function withPeer<T>({ dir }: { dir: string }, use: (peer: RelayPeer) => Promise<T>): Promise<T> {
  const peer = await RelayPeer.open({ dir })
  try {
    return await use(peer)
  } finally {
    await peer.close()
  }
}
