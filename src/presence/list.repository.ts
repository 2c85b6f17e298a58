import type { Pool } from '../postgres/pool.ts'
import { type Broadcast, onlineBroadcasts } from './broadcasts.repository.ts'

/** Connections of the pool that lists may use at once. */
const LIST_CONNECTIONS = 4

/** Bytes of JSON on a page, not counting its last broadcast: each reader may hold a page in memory. */
const PAGE_BYTES = 512 * 1024
/** Broadcasts on a page. */
const [MIN_SIZE, MAX_SIZE] = [16, 1000]

/** Blocks of 8 KB read to estimate a table's rows: all blocks of a table with 100,000 peers. */
const SAMPLE = 4000

/** A part of the list. */
export interface Page {
  /** Broadcasts as JSON, separated by commas. Bytes, because a string takes two for each character if one is not Latin. */
  json: Buffer
  /** How many broadcasts. */
  size: number
  /** The client after which the next page begins; null on the last page. */
  next: string | null
}

export type List = ReturnType<typeof createList>

/**
 * How many broadcasts to ask for on the next page, so that the database writes few that do not fit.
 *
 * @param count of broadcasts on the previous page
 * @param bytes of the previous page
 */
export function sizeOfNext(count: number, bytes: number): number {
  const fits = count === 0 ? MAX_SIZE : Math.round((count * PAGE_BYTES) / bytes)
  return Math.min(Math.max(fits, MIN_SIZE), MAX_SIZE)
}

/** Everyone online, page by page. */
export function createList({ queryIdempotent, limitTo, sql }: Pool) {
  const listSlots = limitTo(LIST_CONNECTIONS)
  const { inOrder } = onlineBroadcasts(sql)
  /** Bytes of the broadcasts before this one in the window `by_client`. */
  const sizeBefore = sql`sum(octet_length(json)) over by_client - octet_length(json)`

  return {
    /**
     * A page of everyone online, ordered by client id. Each page shows its own moment.
     *
     * @param after client after which the page begins; undefined for the first page
     * @param size maximum number of broadcasts; fewer if they are large
     * @returns the broadcasts, and the client after which the next page begins; null on the last page
     */
    async everyone(after: string | undefined, size: number): Promise<{ broadcasts: Broadcast[]; next: string | null }> {
      const rows = await queryIdempotent<(Broadcast & { isLast: boolean })[]>(undefined, listSlots)`
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
     * The same without one client, joined by the database. Ordering by e-mail address would read all registered clients.
     *
     * @param after client after which the page begins; undefined for the first page
     * @param size maximum number of broadcasts; fewer if they are large
     */
    async page(exceptClientId: string, after: string | undefined, size: number, signal?: AbortSignal): Promise<Page> {
      // One more than fits, to know whether there is a next page.
      const first = inOrder(after, sql`${size} + 1`, sql`client_id <> ${exceptClientId}`)
      const [{ json, ...page }] = await queryIdempotent<[{ json: string; size: number; next: string | null }]>(
        signal,
        listSlots
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
     * A text that stays the same only while the list does. A transaction that writes changes the server's snapshot; a broadcast
     * that expires changes which one expired last. The server's start and last checkpoint distinguish another server, and one that
     * lost transactions in a crash.
     */
    async version(signal?: AbortSignal): Promise<string> {
      const [{ version }] = await queryIdempotent<[{ version: string }]>(signal)`
        select concat_ws(' ',
          pg_postmaster_start_time(), pg_control_checkpoint(), pg_current_snapshot(),
          (select max(expires_at) from broadcasts where expires_at <= now())
        ) as version`
      return version
    },

    /**
     * How many peers are registered and online: exact up to about 100,000, then estimated from a sample, within about one percent.
     * Counting a million takes up to six seconds under load.
     */
    async count(signal?: AbortSignal): Promise<{ registered: number; online: number }> {
      const pages = (table: string) => sql`pg_relation_size(${table}) / current_setting('block_size')::integer`
      const share = (table: string) => sql`least(1.0, ${SAMPLE}::real / greatest(1, ${pages(table)}))`
      // The same blocks each time, so that curves are smooth.
      const sample = (table: string) => sql`${sql(table)} tablesample system (100 * ${share(table)}) repeatable (0)`
      const [counted] = await queryIdempotent<[{ registered: number; online: number }]>(signal)`
        select
          (select round(count(*) / ${share('clients')}) from ${sample('clients')})::float8 as registered,
          (select round(count(*) / ${share('broadcasts')}) from ${sample('broadcasts')} where expires_at > now())::float8 as online`
      return counted
    }
  }
}
