/**
 * Seconds after which a peer should announce again: 40 to 50 % of the lifetime, so that it may miss once and is still online.
 * Spread, so that peers which came together do not come back together.
 */
export function reannounceAfter(lifetime: number): number {
  return Math.max(1, Math.floor(lifetime * (0.4 + Math.random() / 10)))
}
