import { anyOf, type Fragment, json } from '../database.ts'
import type { Pool } from '../pool.ts'

/** Of the pool's connections, those that lists may have at once. */
const LIST_CONNECTIONS = 4

/** Bytes of JSON, beside one broadcast more, that a page of everyone has: in memory there may be one for each reader. */
const PAGE_BYTES = 512 * 1024
/** Broadcasts that a page may be asked for. */
const [MIN_SIZE, MAX_SIZE] = [16, 1000]

export interface Announcement {
  /** The fingerprint of the caller's certificate. */
  caller: string
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

/** A part of the list. */
export interface Page {
  /** Broadcasts as JSON, with commas between them. As bytes: of what is not Latin, a text would take two for each character. */
  json: Buffer
  /** How many there are. */
  size: number
  /** The client after which the next page begins; null when this is the last one. */
  next: string | null
}

/** What was found for a caller whose certificate is in force. */
export interface Found {
  /** The caller's client. */
  clientId: string
  /** What the API answers; null when the peer is not online. */
  json: string | null
}

/** Who looks for whom. */
interface Lookup {
  /** The fingerprint of the caller's certificate. */
  caller: string
  /** The peer's e-mail address or fingerprint. */
  peer: string
}

export type Broadcasts = ReturnType<typeof createBroadcasts>

/**
 * How many broadcasts to ask for with the next page, so that the database does not make many that the page has no room for.
 *
 * @param count of those of the page before
 * @param bytes that they have
 */
export function sizeOfNext(count: number, bytes: number): number {
  const fits = count === 0 ? MAX_SIZE : Math.round((count * PAGE_BYTES) / bytes)
  return Math.min(Math.max(fits, MIN_SIZE), MAX_SIZE)
}

/** Who is online, and where. */
export function createBroadcasts({ once, persistently, batched, atMost, sql }: Pool) {
  const asList = atMost(LIST_CONNECTIONS)
  /** Of a client, that its certificate is in force. */
  const inForce = sql`certificate_state(not_before, not_after) = 'valid' and revoked_at is null`
  /** As JavaScript writes a date. An interval, for a zone by its name would be looked up for each. */
  const timestamp = (time: Fragment) => sql`to_char(${time} at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  /** PostgreSQL writes the JSON: to read its rows here and to write them anew would take ten times as long. */
  const written = (online: Fragment) => sql`
    select client_id as "clientId", online.email, row_to_json(broadcast)::text as json
    from (${online}) online cross join lateral (
      select online.email, port, addresses, observed_address, capabilities, fingerprint,
        ${timestamp(sql`last_heartbeat`)} as last_seen, ${timestamp(sql`online.expires_at`)} as expires_at
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

  /** Bytes of the broadcasts before this one, in the window `by_client`. */
  const sizeBefore = sql`sum(octet_length(json)) over by_client - octet_length(json)`

  const findBy = (name: Fragment) =>
    batched(async (lookups: Lookup[], query): Promise<(Found | undefined)[]> => {
      const rows = await query<({ n: number } & Found)[]>`
        select n::integer, caller_in_force.id as "clientId", found.json
        from rows from (json_to_recordset(${json(sql, lookups)}) as (caller text, peer text))
          with ordinality lookups (caller, peer, n)
        -- Each by itself, from the index: the planner takes them for a hundred, and would rather read whole small tables.
        cross join lateral (
          select id from clients where fingerprint = caller and ${inForce} limit 1
        ) caller_in_force
        left join lateral (${ofClients(sql`${name} = peer`, sql`limit 1`)}) found on true`
      const found = new Map(rows.map((row) => [row.n, row]))
      return lookups.map((_, n) => found.get(n + 1))
    })

  return {
    /**
     * Puts a client online for `ttl` seconds from now; what it announced before is replaced.
     *
     * @returns the ids of broadcast and client, or undefined when the caller's certificate is not in force
     */
    announce: batched(async (announcements: Announcement[], query): Promise<(Announced | undefined)[]> => {
      // One row cannot be written twice by a statement: of those of one caller, the last one counts.
      const last = new Map(announcements.map((announcement) => [announcement.caller, announcement]))
      const rows = [...last.values()].map((announcement) => ({
        ...announcement,
        // As text, for what is JSON within JSON is unescaped, and not every escape can be.
        capabilities: JSON.stringify(announcement.capabilities)
      }))
      const announced = await query<(Announced & { caller: string })[]>`
        with callers as materialized (
          select c.id as client_id, a.*
          from json_to_recordset(${json(sql, rows)}) a (
            caller text, port integer, addresses inet[], observed_address inet, capabilities text, ttl integer
          ) cross join lateral (
            select id from clients where fingerprint = a.caller and ${inForce} limit 1
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
            last_heartbeat = excluded.last_heartbeat
          returning id, client_id
        )
        select id, client_id as "clientId", caller from announced join callers using (client_id)`
      const byCaller = new Map(announced.map((row) => [row.caller, row]))
      return announcements.map(({ caller }) => byCaller.get(caller))
    }),

    /** Takes a client offline, if it is not already. */
    async withdraw(clientId: string, signal?: AbortSignal): Promise<void> {
      await persistently(signal)`delete from broadcasts where client_id = ${clientId}`
    },

    /** What this client announced, as JSON, if it is online. */
    async findOwn(clientId: string, signal?: AbortSignal): Promise<string | undefined> {
      const [broadcast] = await persistently<[Broadcast?]>(signal)`${ofClients(sql`c.id = ${clientId}`)}`
      return broadcast?.json
    },

    /**
     * What the peer with this e-mail address announced.
     *
     * @returns undefined when the caller's certificate is not in force
     */
    find: findBy(sql`c.email`),

    /** The same for the peer whose certificate has this fingerprint. */
    findByFingerprint: findBy(sql`c.fingerprint`),

    /** Those of the peers with these e-mail addresses that are online. */
    async findAll(emails: string[]): Promise<Broadcast[]> {
      return persistently<Broadcast[]>()`${ofClients(sql`c.email = ${anyOf(sql, emails)}`)}`
    },

    /**
     * A page of everyone online, by client: of its own moment, not of that of the page before.
     *
     * @param after the client after which the page begins; the first page without it
     * @param size the most broadcasts that it has; it has fewer when they are large
     * @returns with them, the client after which the next page begins; null when this is the last one
     */
    async everyone(after: string | undefined, size: number): Promise<{ broadcasts: Broadcast[]; next: string | null }> {
      const rows = await persistently<(Broadcast & { isLast: boolean })[]>(undefined, asList)`
        select "clientId", email, json, (place < ${size} and place = count) as "isLast"
        from (
          select *, row_number() over by_client as place, count(*) over () as count, ${sizeBefore} as before
          from (${inOrder(after, sql`${size}`)}) broadcast
          window by_client as (order by "clientId")
        ) numbered
        where before < ${PAGE_BYTES}
        order by "clientId"`
      const last = rows.at(-1)
      return { broadcasts: rows, next: last === undefined || last.isLast ? null : last.clientId }
    },

    /**
     * A page of everyone online but this client. By client: by e-mail address, it would go through all who are registered.
     *
     * @param after the client after which the page begins; the first page without it
     * @param size the most broadcasts that it has; it has fewer when they are large
     */
    async page(exceptClientId: string, after: string | undefined, size: number, signal?: AbortSignal): Promise<Page> {
      // One more than the page has tells whether there is a next one.
      const first = inOrder(after, sql`${size} + 1`, sql`client_id <> ${exceptClientId}`)
      const [{ json, ...page }] = await persistently<[{ json: string; size: number; next: string | null }]>(
        signal,
        asList
      )`
        select count(*) filter (where fits)::integer as size, coalesce(string_agg(json, ',' order by "clientId") filter (where fits), '') as json,
          case when not bool_and(fits) then max("clientId"::text) filter (where fits) end as next
        from (
          select "clientId", json, row_number() over by_client <= ${size} and ${sizeBefore} < ${PAGE_BYTES} as fits
          from (${first}) broadcast
          window by_client as (order by "clientId")
        ) numbered`
      return { ...page, json: Buffer.from(json) }
    },

    /**
     * A text that is the same again only if everyone online, and where, is the same too. Two things change the list. One is a
     * transaction: when one ends that wrote something, in any database of the server, the snapshot is another one; on a standby,
     * whose snapshots leave out who is under way, the place up to which the log was replayed is. The other is time: then a
     * broadcast expired since, and the last one to expire is another one. Both may look alike on another server, or after a crash
     * that lost what was never made to last: the server's start and last checkpoint tell these apart.
     */
    async version(signal?: AbortSignal): Promise<string> {
      const [{ version }] = await persistently<[{ version: string }]>(signal)`
        select concat_ws(' ',
          pg_postmaster_start_time(), pg_control_checkpoint(),
          case when pg_is_in_recovery() then pg_last_wal_replay_lsn()::text else pg_current_snapshot()::text end,
          (select max(expires_at) from broadcasts where expires_at <= now())
        ) as version`
      return version
    },

    /**
     * Deletes broadcasts that expired, the oldest first, and never while another worker is at it.
     *
     * @param limit the most that one call deletes, so that no lock is held for long
     * @returns how many were deleted, or undefined when another worker is at it
     */
    async deleteExpired(limit: number): Promise<number | undefined> {
      const [{ deleted }] = await once<[{ deleted: number | null }]>()`
        select delete_expired_broadcasts(${limit}) as deleted`
      return deleted ?? undefined
    }
  }
}
