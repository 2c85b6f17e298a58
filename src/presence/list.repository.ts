import type { Pool } from '../postgres/pool.ts'
import { type Broadcast, onlineBroadcasts } from './broadcasts.repository.ts'

/** Connections that lists may use at once. */
const LIST_CONNECTIONS = 4
/** Bytes of JSON on a page, not counting its last broadcast: each reader may keep a page in memory. */
const PAGE_BYTES = 512 * 1024
/** Broadcasts on a page. */
const [MIN_SIZE, MAX_SIZE] = [16, 1000]
/** Blocks of 8 KB read to estimate a table's rows: all those of 100,000 peers. */
const SAMPLE = 4000

/** A part of the list. */
export interface Page {
  /** Broadcasts as JSON, separated by commas. Not a string, because one character that is not Latin would double its size. */
  json: Buffer
  /** How many broadcasts. */
  size: number
  /** The client after which the next page begins; null on the last page. */
  next: string | null
}

export type List = ReturnType<typeof createList>

/** How many broadcasts to ask for on the next page, judging by the last one, so that the database writes few that do not fit. */
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
     * @param after the client after which the page begins
     * @param size how many broadcasts at most; fewer if they are large
     * @returns the client after which the next page begins as `next`; null on the last page
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

    /** The same without one client, joined by the database. Ordering by e-mail address would read all registered clients. */
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
     * Changes whenever the list does: a transaction that writes changes the snapshot, and a broadcast that expires is the last one to
     * have expired. The server's start and last checkpoint identify another server, or one that lost transactions in a crash.
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
     * How many peers are registered and online: exact up to about 100,000, then estimated to within one percent, because counting a
     * million takes up to six seconds under load.
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
