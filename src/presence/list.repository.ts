import type { Pool } from '../postgres/pool.ts'
import { type Broadcast, onlineBroadcasts } from './broadcasts.repository.ts'

/** Of the pool's connections, those that lists may have at once. */
const LIST_CONNECTIONS = 4

/** Bytes of JSON, beside one broadcast more, that a page of everyone has: in memory there may be one for each reader. */
const PAGE_BYTES = 512 * 1024
/** Broadcasts that a page may be asked for. */
const [MIN_SIZE, MAX_SIZE] = [16, 1000]

/** Pages of 8 KB that are read of a table to tell how many rows it has: of a table for 100,000 peers all. */
const SAMPLE = 4000

/** A part of the list. */
export interface Page {
  /** Broadcasts as JSON, with commas between them. As bytes: of what is not Latin, a text would take two for each character. */
  json: Buffer
  /** How many there are. */
  size: number
  /** The client after which the next page begins; null when this is the last one. */
  next: string | null
}

export type List = ReturnType<typeof createList>

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

/** Everyone online, page by page. */
export function createList({ queryIdempotent, limitTo, sql }: Pool) {
  const asList = limitTo(LIST_CONNECTIONS)
  const { inOrder } = onlineBroadcasts(sql)
  /** Bytes of the broadcasts before this one, in the window `by_client`. */
  const sizeBefore = sql`sum(octet_length(json)) over by_client - octet_length(json)`

  return {
    /**
     * A page of everyone online, by client: of its own moment, not of that of the page before.
     *
     * @param after the client after which the page begins; the first page without it
     * @param size the most broadcasts that it has; it has fewer when they are large
     * @returns with them, the client after which the next page begins; null when this is the last one
     */
    async everyone(after: string | undefined, size: number): Promise<{ broadcasts: Broadcast[]; next: string | null }> {
      const rows = await queryIdempotent<(Broadcast & { isLast: boolean })[]>(undefined, asList)`
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
      const [{ json, ...page }] = await queryIdempotent<[{ json: string; size: number; next: string | null }]>(
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
     * transaction: when one ends that wrote something, in any database of the server, the snapshot is another one. The other is time: then a broadcast
     * expired since, and the last one to expire is another one. Both may look alike on another server, or after a crash that lost what
     * was never made to last: the server's start and last checkpoint tell these apart.
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
     * How many peers are registered, and how many of them are online: exactly for up to some 100,000, else from a sample, within about a
     * percent. To count a million takes the database up to six seconds while they announce.
     */
    async count(signal?: AbortSignal): Promise<{ registered: number; online: number }> {
      const pages = (table: string) => sql`pg_relation_size(${table}) / current_setting('block_size')::integer`
      const share = (table: string) => sql`least(1.0, ${SAMPLE}::real / greatest(1, ${pages(table)}))`
      // The same pages each time, so that a curve of it is smooth.
      const sample = (table: string) => sql`${sql(table)} tablesample system (100 * ${share(table)}) repeatable (0)`
      const [counted] = await queryIdempotent<[{ registered: number; online: number }]>(signal)`
        select
          (select round(count(*) / ${share('clients')}) from ${sample('clients')})::float8 as registered,
          (select round(count(*) / ${share('broadcasts')}) from ${sample('broadcasts')} where expires_at > now())::float8 as online`
      return counted
    }
  }
}
