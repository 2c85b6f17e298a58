import type { Certificate } from './certificate.ts'
import { INET_ARRAY, isUniqueViolation } from './database.ts'
import type { Pool } from './pool.ts'

/** The type json, which postgres.js cannot tell by the value; its own `sql.json` is jsonb, which reorders members. */
const JSON_TEXT = 114

/** The cleanup worker's advisory lock: an arbitrary number that nothing else in this database uses. */
export const CLEANUP_LOCK = 7_352_901

export interface Announcement {
  port: number
  addresses: string[]
  capabilities: Record<string, unknown>
}

export interface Client {
  id: string
  email: string
  isExpired: boolean
  isNotYetValid: boolean
}

export interface Broadcast extends Announcement {
  email: string
  fingerprint: string
  last_seen: Date
  expires_at: Date
}

/** Why a registration is refused; the last one: the very same pair again. */
export type Conflict = 'email_taken' | 'certificate_taken' | 'already_registered'

export type Repository = ReturnType<typeof createRepository>

/**
 * Every statement that the service makes. Each is one round trip, and the database's clock alone decides what is expired.
 * What nobody waits for any more, as `signal` tells, is not begun.
 */
export function createRepository({ once, persistently, sql }: Pool) {
  const broadcastColumns = sql`
    c.email, b.port, b.addresses, b.capabilities, c.fingerprint, b.last_heartbeat as last_seen, b.expires_at`

  /**
   * Records that whoever registers this pair holds the certificate's key: a mere claim on it becomes this
   * registration, unless the e-mail address is somebody else's. To call with it is not enough: who called may not know under
   * which address a stranger claimed the certificate.
   */
  async function claimProven(email: string, fingerprint: string, signal?: AbortSignal) {
    await once(signal)`
      update clients set proven_at = now()
      where fingerprint = ${fingerprint} and email = ${email} and proven_at is null`
    try {
      const [heir] = await once<[{ id: string }?]>(signal)`
        update clients set email = ${email}, created_at = now(), proven_at = now()
        where fingerprint = ${fingerprint} and email <> ${email} and proven_at is null
        returning id`
      return heir
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return undefined
    }
  }

  return {
    /** Fails when the database is away or was never migrated. */
    async ping(signal?: AbortSignal) {
      await persistently(signal)`select from broadcasts limit 1`
    },

    /**
     * Registers a client, or tells what of it is taken: the constraints decide, also in a race.
     *
     * @param isProven whether the caller holds the certificate's key; it then displaces a mere claim on the certificate
     */
    async register(
      email: string,
      certificate: Certificate,
      isProven: boolean,
      signal?: AbortSignal
    ): Promise<{ id: string } | { conflict: Conflict }> {
      const { der, fingerprint, commonName, notBefore, notAfter } = certificate
      const [client] = await once<[{ id: string }?]>(signal)`
        insert into clients (email, certificate, common_name, not_before, not_after, proven_at)
        values (${email}, ${der}, ${commonName}, ${notBefore}, ${notAfter}, ${isProven ? sql`now()` : null})
        on conflict do nothing
        returning id`
      if (client) return client

      const heir = isProven ? await claimProven(email, fingerprint, signal) : undefined
      if (heir) return heir

      const [refusal] = await once<[{ conflict: Conflict }]>(signal)`
        select coalesce(
          (select 'already_registered' from clients where email = ${email} and fingerprint = ${fingerprint}),
          (select 'email_taken' from clients where email = ${email}),
          'certificate_taken'
        ) as conflict`
      return refusal
    },

    /** The client whose certificate has this fingerprint. */
    async findClient(fingerprint: string, signal?: AbortSignal): Promise<Client | undefined> {
      const [client] = await persistently<[Client?]>(signal)`
        select id, email,
          not_after <= now() as "isExpired", not_before > now() as "isNotYetValid"
        from clients where fingerprint = ${fingerprint}`
      return client
    },

    /** Puts a client online for `ttl` seconds from now; what it announced before is replaced. */
    async announce(
      clientId: string,
      { port, addresses, capabilities }: Announcement,
      ttl: number,
      signal?: AbortSignal
    ): Promise<string> {
      const [broadcast] = await persistently<[{ id: string }]>(signal)`
        insert into broadcasts (client_id, port, addresses, capabilities, expires_at)
        values (
          ${clientId}, ${port}, ${sql.typed(addresses as never, INET_ARRAY)}, ${sql.typed(capabilities as never, JSON_TEXT)},
          now() + make_interval(secs => ${ttl})
        )
        on conflict (client_id) do update set
          port = excluded.port,
          addresses = excluded.addresses,
          capabilities = excluded.capabilities,
          expires_at = excluded.expires_at,
          last_heartbeat = excluded.last_heartbeat
        returning id`
      return broadcast.id
    },

    /** What the peer with this e-mail address announced, if it is online. */
    async findBroadcast(email: string, signal?: AbortSignal): Promise<Broadcast | undefined> {
      const [broadcast] = await persistently<[Broadcast?]>(signal)`
        select ${broadcastColumns}
        from clients c join broadcasts b on b.client_id = c.id
        where c.email = ${email} and b.expires_at > now()`
      return broadcast
    },

    /** Everyone online but this client, by e-mail address. */
    async listBroadcasts(exceptClientId: string, signal?: AbortSignal): Promise<Broadcast[]> {
      return persistently<Broadcast[]>(signal)`
        select ${broadcastColumns}
        from clients c join broadcasts b on b.client_id = c.id
        where b.expires_at > now() and c.id <> ${exceptClientId}
        order by c.email`
    },

    /**
     * Deletes broadcasts that expired, the oldest first, and never while another worker is at it.
     *
     * @param limit the most that one call deletes, so that no lock is held for long
     * @returns how many were deleted, or undefined when another worker is at it
     */
    async deleteExpired(limit: number): Promise<number | undefined> {
      const [{ alone, deleted }] = await once<[{ alone: boolean; deleted: number }]>()`
        with worker as materialized (
          select pg_try_advisory_xact_lock(${CLEANUP_LOCK}) as alone
        ), expired as (
          select id from broadcasts
          where expires_at <= now() and (select alone from worker)
          order by expires_at limit ${limit}
          for update skip locked
        ), deleted as (
          delete from broadcasts where id in (select id from expired) returning id
        )
        select alone, (select count(*)::int from deleted) as deleted from worker`
      return alone ? deleted : undefined
    }
  }
}
