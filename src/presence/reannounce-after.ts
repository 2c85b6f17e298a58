/**
 * Seconds after which a peer should announce again: 40 to 50 % of its lifetime, so that it may miss once and stays online.
 * Random, so that peers that came together spread out.
 */
export function reannounceAfter(lifetime: number): number {
  return Math.max(1, Math.floor(lifetime * (0.4 + Math.random() / 10)))
}
