/** Seconds. */
const MIN_RETRY = 60
const MAX_RETRY = 3600
/** Misses a second that one process likes to answer. */
const DESIRED_MISSES = 100

/**
 * How long those who looked for a peer in vain should wait: the more they are, the longer, as in Syncthing's discovery server.
 * Every miss counts the same, so that the answer tells nothing about the peer.
 *
 * @param now seconds
 * @returns what to call for each miss: seconds, 60 to 3600
 */
export function createMissPacer(now = () => performance.now() / 1000) {
  let wait = MIN_RETRY
  let since = now()
  let misses = 0
  return () => {
    misses++
    const elapsed = now() - since
    // It takes as long as that until a change has its effect.
    if (elapsed >= wait) {
      const factor = misses / elapsed > DESIRED_MISSES ? 8 / 7 : 3 / 4
      wait = Math.min(Math.max(wait * factor, MIN_RETRY), MAX_RETRY)
      since = now()
      misses = 0
    }
    return Math.floor(Math.min(wait * (1 + Math.random() / 4), MAX_RETRY))
  }
}
