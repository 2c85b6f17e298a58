/** Seconds. */
const MIN_RETRY = 60
const MAX_RETRY = 3600
/** Misses a second to aim at. */
const TARGET_MISSES = 100

/**
 * How long callers should wait after a lookup that found nobody: the more such lookups, the longer, as in Syncthing's discovery server.
 * It depends on nothing else, so it reveals nothing about the peer.
 *
 * @param now in seconds
 * @returns a function to call for each miss, which returns 60 to 3600 seconds
 */
export function createMissPacer(now = () => performance.now() / 1000) {
  let wait = MIN_RETRY
  let since = now()
  let misses = 0
  return () => {
    misses++
    const elapsed = now() - since
    // It takes this long for a change to have an effect.
    if (elapsed >= wait) {
      const factor = misses / elapsed > TARGET_MISSES ? 8 / 7 : 3 / 4
      wait = Math.min(Math.max(wait * factor, MIN_RETRY), MAX_RETRY)
      since = now()
      misses = 0
    }
    return Math.floor(Math.min(wait * (1 + Math.random() / 4), MAX_RETRY))
  }
}
