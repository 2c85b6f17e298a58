import { setTimeout as pause } from 'node:timers/promises'
import { isDatabaseAway } from './database.ts'
import type { Pool } from './pool.ts'

/** Milliseconds that an answer of the replica may be behind the primary, and between two looks at how far it is. */
const MAX_LAG = 5000
const INTERVAL = 500

/** Reads the same things from the primary or from a replica of it. */
export interface Reader<From> {
  /**
   * What `ask` finds at the replica; at the primary when the replica is away, not known to be fresh, or its answer is not enough.
   * `ask` may then run twice, so it only reads.
   */
  read: <T>(ask: (from: From) => Promise<T>, isEnough?: (answer: T) => boolean) => Promise<T>
  /** Whether the replica is read from at the moment. */
  isFresh: () => boolean
}

/** Reads from the primary alone. */
export function readPrimary<From>(primary: From): Reader<From> {
  return { read: (ask) => ask(primary), isFresh: () => false }
}

/**
 * Reads from a replica for as long as it is proven to have all that the primary had `MAX_LAG` ago: it is asked again and again
 * whether it has replayed what the primary had written at a certain time. So one that follows the primary no more, or another one,
 * is not read from.
 *
 * @param signal ends the looks at it
 */
export function readReplica<From>(
  primary: { pool: Pool; from: From },
  replica: { pool: Pool; from: From },
  signal: AbortSignal
): Reader<From> {
  let freshUntil = 0
  follow()

  async function follow() {
    let mark: (Position & { at: number }) | undefined
    while (!signal.aborted) {
      try {
        mark ??= { at: performance.now(), ...(await positionOf(primary.pool)) }
        if (await hasReplayed(replica.pool, mark)) {
          freshUntil = mark.at + MAX_LAG
          mark = undefined
        }
      } catch {
        // Either of them is away. If it stays so, the replica is not read from any more.
        mark = undefined
      }
      await pause(INTERVAL, undefined, { signal }).catch(() => {})
    }
  }

  const isFresh = () => performance.now() < freshUntil

  return {
    isFresh,
    async read(ask, isEnough = () => true) {
      if (isFresh()) {
        try {
          const answer = await ask(replica.from)
          if (isEnough(answer)) return answer
        } catch (error) {
          if (!isDatabaseAway(error)) throw error
          freshUntil = 0
        }
      }
      return ask(primary.from)
    }
  }
}

/** How far a primary is in its log, and which one's that is. */
interface Position {
  lsn: string
  system: string
}

async function positionOf({ persistently }: Pool): Promise<Position> {
  const [position] = await persistently<[Position]>()`
    select pg_current_wal_lsn()::text as lsn, system_identifier::text as system from pg_control_system()`
  return position
}

/** Whether a replica has come so far; what became the primary meanwhile has. */
async function hasReplayed({ persistently }: Pool, { lsn, system }: Position): Promise<boolean> {
  const [{ hasReplayed }] = await persistently<[{ hasReplayed: boolean }]>()`
    select system_identifier::text = ${system} and ${lsn}::pg_lsn <= case
      when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn()
    end as "hasReplayed"
    from pg_control_system()`
  return hasReplayed
}
