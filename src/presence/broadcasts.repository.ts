import type { Caller } from '../identity/authentication.ts'
import type { Pool } from '../postgres/pool.ts'
import { anyOf, type Fragment, json, type Sql } from '../postgres/postgres-driver.ts'

interface Announcement {
  port: number
  addresses: string[]
  /** Where the edge saw the peer; null if that was no IP address. */
  observed_address: string | null
  capabilities: Record<string, unknown>
  /** Seconds. */
  ttl: number
}

interface Announced {
  /** The broadcast's id. */
  id: string
  clientId: string
}

/** A peer that is online. */
export interface Broadcast {
  clientId: string
  email: string
  /** The API's answer about the peer. */
  json: string
}

interface Found {
  /** The caller's. */
  clientId: string
  /** The API's answer; null if the peer is not online. */
  json: string | null
}

/** With the fingerprint of the caller's certificate. */
type WithCaller<T> = T & { caller: string }

/** Who is online, and where. */
export function createBroadcasts({ query, queryIdempotent, coalesce, sql }: Pool) {
  const { ofClients, lookedUp } = onlineBroadcasts(sql)
  const isValid = sql`certificate_state(not_before, not_after) = 'valid' and revoked_at is null`
  const findAllBy = (name: Fragment) =>
    coalesce(async (lookups: WithCaller<{ peer: string }>[], send): Promise<(Found | undefined)[]> => {
      const rows = await send<({ n: number } & Found)[]>`
        select n::integer, valid_caller.id as "clientId", found.json
        from rows from (json_to_recordset(${json(sql, lookups)}) as (caller text, peer text))
          with ordinality lookups (caller, peer, n)
        -- Uses the index for each: expecting a hundred callers, the planner would otherwise read small tables whole.
        cross join lateral (
          select id from clients where fingerprint = caller and ${isValid} limit 1
        ) valid_caller
        left join lateral (${lookedUp(sql`${name} = peer`, sql`limit 1`)}) found on true`
      const found = new Map(rows.map((row) => [row.n, row]))
      return lookups.map((_, n) => found.get(n + 1))
    })

  const announceAll = coalesce(
    async (announcements: WithCaller<Announcement>[], send): Promise<(Announced | undefined)[]> => {
      // A statement cannot write a row twice, so a caller's last announcement counts.
      const last = new Map(announcements.map((announcement) => [announcement.caller, announcement]))
      const rows = [...last.values()].map((announcement) => ({
        ...announcement,
        // As text: inside JSON, PostgreSQL would resolve escapes, and fail at some, such as \u0000.
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
          order by client_id -- so that statements lock rows in the same order
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
    /** Puts the caller online for `ttl` seconds, replacing its last announcement. */
    announce(caller: Caller, announcement: Announcement): Promise<Announced> {
      return caller.checkedBy(() => announceAll({ caller: caller.fingerprint, ...announcement }, caller.deadline))
    },

    /** Takes a client offline. It may be offline already. */
    async withdraw(clientId: string, signal?: AbortSignal): Promise<void> {
      await queryIdempotent(signal)`delete from broadcasts where client_id = ${clientId}`
    },

    /** A client's own broadcast as JSON; undefined if it is offline. */
    async findOwn(clientId: string, signal?: AbortSignal): Promise<string | undefined> {
      const [broadcast] = await queryIdempotent<[Broadcast?]>(signal)`${lookedUp(sql`c.id = ${clientId}`)}`
      return broadcast?.json
    },

    /** Looks up the peer with this e-mail address. */
    findByEmail(caller: Caller, email: string): Promise<Found> {
      return caller.checkedBy(() => findByEmail({ caller: caller.fingerprint, peer: email }, caller.deadline))
    },

    /** Looks up the peer whose certificate has this fingerprint. */
    findByFingerprint(caller: Caller, fingerprint: string): Promise<Found> {
      return caller.checkedBy(() =>
        findByFingerprint({ caller: caller.fingerprint, peer: fingerprint }, caller.deadline)
      )
    },

    /** The peers with these e-mail addresses that are online. */
    async findAll(emails: string[]): Promise<Broadcast[]> {
      return queryIdempotent<Broadcast[]>()`${ofClients(sql`c.email = ${anyOf(sql, emails)}`)}`
    },

    /**
     * Deletes expired broadcasts, oldest first, unless another worker is doing so.
     *
     * @param limit maximum to delete in one call, to keep locks short
     * @returns how many were deleted; undefined if another worker is deleting
     */
    async deleteExpired(limit: number): Promise<number | undefined> {
      const [{ deleted }] = await query<[{ deleted: number | null }]>()`
        select delete_expired_broadcasts(${limit}) as deleted`
      return deleted ?? undefined
    }
  }
}

/** Fragments of SQL that select online peers as JSON. */
export function onlineBroadcasts(sql: Sql) {
  /** In JavaScript's format. The zone is an interval because a name would be looked up for each row. */
  const timestamp = (time: Fragment) => sql`to_char(${time} at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  /** PostgreSQL writes JSON ten times as fast as Node.js. */
  const written = sql`row_to_json(broadcast)::text`
  const asJson = (online: Fragment, json = written) => sql`
    select client_id as "clientId", online.email, ${json} as json
    from (${online}) online cross join lateral (
      select online.email, port, addresses, observed_address, capabilities, fingerprint,
        ${timestamp(sql`last_announced_at`)} as last_seen, ${timestamp(sql`online.expires_at`)} as expires_at
    ) broadcast`
  // The lateral joins make the planner use the index for each row. For a batch, or the last page, it would otherwise read tables whole.
  const isOnline = (condition: Fragment, limit: Fragment) => sql`
      select email, fingerprint, rotations, b.*
      from clients c cross join lateral (
        select * from broadcasts where client_id = c.id and expires_at > now() limit 1
      ) b
      where revoked_at is null and ${condition} ${limit}`
  /** The clients `c` that meet the condition and are online. */
  const ofClients = (condition: Fragment) => asJson(isOnline(condition, sql``))
  /** As `ofClients`, and with the signed rotations of those that have some. */
  const lookedUp = (condition: Fragment, limit = sql``) =>
    asJson(
      isOnline(condition, limit),
      sql`case when rotations is null then ${written}
        else concat(left(${written}, -1), ',"rotations":', array_to_json(rotations), '}') end`
    )
  /** Everyone online after the client `after` who meets the condition, ordered by client id. */
  const inOrder = (after: string | undefined, limit: Fragment, condition = sql`true`) =>
    asJson(sql`
      select email, fingerprint, b.*
      from broadcasts b cross join lateral (
        select email, fingerprint from clients where id = b.client_id and revoked_at is null limit 1
      ) c
      where expires_at > now() and ${condition} ${after === undefined ? sql`` : sql`and client_id > ${after}`}
      order by client_id limit ${limit}`)
  return { ofClients, lookedUp, inOrder }
}
