import { setTimeout as pause } from 'node:timers/promises'
import type { Host } from '../runtime/database-url.ts'

/** Milliseconds between two attempts at one host, and in which one has to be found: a caller waits for it. */
const INTERVAL = 250
const PATIENCE = 1500

/**
 * The first of several hosts that is as wished. All are asked at once, so that one that is silent keeps nobody waiting, and again
 * and again, for a failover may be under way.
 *
 * @param ask resolves when the host is as wished; ends when its signal aborts
 * @throws Error, `code` `DATABASE_NOT_FOUND`, that tells of each host why not
 */
export async function findHost(
  hosts: [Host, ...Host[]],
  ask: (host: Host, signal: AbortSignal) => Promise<unknown>
): Promise<Host> {
  if (hosts.length === 1) return hosts[0]
  const over = new AbortController()
  const { signal } = over
  const reasons = new Map<Host, string>()

  async function askUntilRight(host: Host): Promise<Host> {
    for (;;) {
      try {
        await ask(host, signal)
        return host
      } catch (error) {
        reasons.set(host, (error as Error).message)
      }
      await pause(INTERVAL, undefined, { signal })
    }
  }

  async function giveUp(): Promise<never> {
    await pause(PATIENCE, undefined, { signal })
    const told = hosts.map((host) => `${host.name}:${host.port} (${reasons.get(host) ?? 'no answer'})`)
    throw Object.assign(new Error(`no database as wished: ${told.join(', ')}`), { code: 'DATABASE_NOT_FOUND' })
  }

  try {
    return await Promise.race([giveUp(), ...hosts.map(askUntilRight)])
  } finally {
    over.abort()
  }
}
