import type { Caller } from '../identity/authentication.ts'
import type { Pool } from '../postgres/pool.ts'
import { anyOf, type Fragment, json, type Sql } from '../postgres/postgres-client.ts'

export interface Announcement {
  port: number
  addresses: string[]
  /** Where the peer was seen; null when that is no IP address. */
  observed_address: string | null
  capabilities: Record<string, unknown>
  /** Seconds. */
  ttl: number
}

/** An announcement that was made. */
export interface Announced {
  /** Of the broadcast. */
  id: string
  clientId: string
}

/** A peer that is online. */
export interface Broadcast {
  clientId: string
  email: string
  /** What the API answers about it. */
  json: string
}

/** What was found for a caller whose certificate is valid. */
export interface Found {
  /** The caller's client. */
  clientId: string
  /** What the API answers; null when the peer is not online. */
  json: string | null
}

/** An announcement or a lookup, with the fingerprint of the caller's certificate. */
type Called<What> = What & { caller: string }

export type Broadcasts = ReturnType<typeof createBroadcasts>

/** Who is online, and where. */
export function createBroadcasts({ query, queryIdempotent, coalesce, sql }: Pool) {
  const { ofClients } = onlineBroadcasts(sql)
  /** Of a client, that its certificate is valid. */
  const isValid = sql`certificate_state(not_before, not_after) = 'valid' and revoked_at is null`
  const findAllBy = (name: Fragment) =>
    coalesce(async (lookups: Called<{ peer: string }>[], send): Promise<(Found | undefined)[]> => {
      const rows = await send<({ n: number } & Found)[]>`
        select n::integer, valid_caller.id as "clientId", found.json
        from rows from (json_to_recordset(${json(sql, lookups)}) as (caller text, peer text))
          with ordinality lookups (caller, peer, n)
        -- Each by itself, from the index: the planner takes them for a hundred, and would rather read whole small tables.
        cross join lateral (
          select id from clients where fingerprint = caller and ${isValid} limit 1
        ) valid_caller
        left join lateral (${ofClients(sql`${name} = peer`, sql`limit 1`)}) found on true`
      const found = new Map(rows.map((row) => [row.n, row]))
      return lookups.map((_, n) => found.get(n + 1))
    })

  /** Of each, what was made of it; undefined when the caller's certificate is not valid. */
  const announceAll = coalesce(
    async (announcements: Called<Announcement>[], send): Promise<(Announced | undefined)[]> => {
      // One row cannot be written twice by a statement: of those of one caller, the last one counts.
      const last = new Map(announcements.map((announcement) => [announcement.caller, announcement]))
      const rows = [...last.values()].map((announcement) => ({
        ...announcement,
        // As text, for what is JSON within JSON is unescaped, and not every escape can be.
        capabilities: JSON.stringify(announcement.capabilities)
      }))
      const announced = await send<(Announced & { caller: string })[]>`
        with callers as materialized (
          select c.id as client_id, a.*
          from json_to_recordset(${json(sql, rows)}) a (
            caller text, port integer, addresses inet[], observed_address inet, capabilities text, ttl integer
          ) cross join lateral (
            select id from clients where fingerprint = a.caller and ${isValid} limit 1
          ) c
        ), announced as (
          insert into broadcasts (client_id, port, addresses, observed_address, capabilities, expires_at)
          select client_id, port, addresses, observed_address, capabilities::json, now() + make_interval(secs => ttl)
          from callers
          order by client_id -- so that two statements lock in the same order
          on conflict (client_id) do update set
            port = excluded.port,
            addresses = excluded.addresses,
            observed_address = excluded.observed_address,
            capabilities = excluded.capabilities,
            expires_at = excluded.expires_at,
            last_announced_at = excluded.last_announced_at
          returning id, client_id
        )
        select id, client_id as "clientId", caller from announced join callers using (client_id)`
      const byCaller = new Map(announced.map((row) => [row.caller, row]))
      return announcements.map(({ caller }) => byCaller.get(caller))
    }
  )

  const findByEmail = findAllBy(sql`c.email`)
  const findByFingerprint = findAllBy(sql`c.fingerprint`)

  return {
    /** Puts a caller online for `ttl` seconds from now; what it announced before is replaced. */
    announce(caller: Caller, announcement: Announcement): Promise<Announced> {
      return caller.checkedBy(() => announceAll({ caller: caller.fingerprint, ...announcement }, caller.deadline))
    },

    /** Takes a client offline, if it is not already. */
    async withdraw(clientId: string, signal?: AbortSignal): Promise<void> {
      await queryIdempotent(signal)`delete from broadcasts where client_id = ${clientId}`
    },

    /** What this client announced, as JSON, if it is online. */
    async findOwn(clientId: string, signal?: AbortSignal): Promise<string | undefined> {
      const [broadcast] = await queryIdempotent<[Broadcast?]>(signal)`${ofClients(sql`c.id = ${clientId}`)}`
      return broadcast?.json
    },

    /** What the peer with this e-mail address announced. */
    findByEmail(caller: Caller, email: string): Promise<Found> {
      return caller.checkedBy(() => findByEmail({ caller: caller.fingerprint, peer: email }, caller.deadline))
    },

    /** The same for the peer whose certificate has this fingerprint. */
    findByFingerprint(caller: Caller, fingerprint: string): Promise<Found> {
      return caller.checkedBy(() =>
        findByFingerprint({ caller: caller.fingerprint, peer: fingerprint }, caller.deadline)
      )
    },

    /** Those of the peers with these e-mail addresses that are online. */
    async findAll(emails: string[]): Promise<Broadcast[]> {
      return queryIdempotent<Broadcast[]>()`${ofClients(sql`c.email = ${anyOf(sql, emails)}`)}`
    },

    /**
     * Deletes broadcasts that expired, the oldest first, and never while another worker is at it.
     *
     * @param limit the most that one call deletes, so that no lock is held for long
     * @returns how many were deleted, or undefined when another worker is at it
     */
    async deleteExpired(limit: number): Promise<number | undefined> {
      const [{ deleted }] = await query<[{ deleted: number | null }]>()`
        select delete_expired_broadcasts(${limit}) as deleted`
      return deleted ?? undefined
    }
  }
}

/** The parts of a query that find who is online, as JSON. */
export function onlineBroadcasts(sql: Sql) {
  /** As JavaScript writes a date. An interval, for a zone by its name would be looked up for each. */
  const timestamp = (time: Fragment) => sql`to_char(${time} at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  /** PostgreSQL writes the JSON: to read its rows here and to write them anew would take ten times as long. */
  const written = (online: Fragment) => sql`
    select client_id as "clientId", online.email, row_to_json(broadcast)::text as json
    from (${online}) online cross join lateral (
      select online.email, port, addresses, observed_address, capabilities, fingerprint,
        ${timestamp(sql`last_announced_at`)} as last_seen, ${timestamp(sql`online.expires_at`)} as expires_at
    ) broadcast`
  // Each broadcast of a client and each client of a broadcast is found by itself, from the index: else the planner would rather
  // read whole tables, for a batch or for the last page of a list.
  /** Of those clients `c` for which the condition holds, who is online. */
  const ofClients = (condition: Fragment, limit = sql``) =>
    written(sql`
      select email, fingerprint, b.*
      from clients c cross join lateral (
        select * from broadcasts where client_id = c.id and expires_at > now() limit 1
      ) b
      where revoked_at is null and ${condition} ${limit}`)
  /** Who is online, by client, after this one if it is given. */
  const inOrder = (after: string | undefined, limit: Fragment, condition = sql`true`) =>
    written(sql`
      select email, fingerprint, b.*
      from broadcasts b cross join lateral (
        select email, fingerprint from clients where id = b.client_id and revoked_at is null limit 1
      ) c
      where expires_at > now() and ${condition} ${after === undefined ? sql`` : sql`and client_id > ${after}`}
      order by client_id limit ${limit}`)
  return { ofClients, inOrder }
}
