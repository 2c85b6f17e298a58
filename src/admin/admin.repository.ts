import type { Fragment, Sql } from '../postgres/postgres-driver.ts'
import type { ClientName } from './client-name.ts'

export interface Client {
  id: string
  email: string
  fingerprint: string
}

interface ListedClient extends Client {
  state: 'in_force' | 'revoked' | 'expired' | 'not_yet_valid'
  not_after: Date
  revoked_at: Date | null
  /** Null while it is offline. */
  online_until: Date | null
}

/** Everything about a client. */
interface ShownClient extends ListedClient {
  revocation_reason: string | null
  common_name: string | null
  not_before: Date
  created_at: Date
  proven_at: Date | null
  email_verified_at: Date | null
  pending_certificate: { fingerprint: string; not_before: string; not_after: string } | null
  /** Its last announcement, unless that was deleted. */
  broadcast: { addresses: string[]; port: number; observed_address: string | null; capabilities: object } | null
}

export interface Paging {
  limit: number
  /** The e-mail address after which the page begins. */
  after?: string
}

export interface BroadcastFilter {
  /** A part of the e-mail address. */
  email?: string
  /** The beginning of the fingerprint. */
  fingerprint?: string
}

export interface ClientFilter extends BroadcastFilter {
  revoked?: boolean
  online?: boolean
  /** Days. */
  expiresWithin?: number
}

interface ListedBroadcast {
  email: string
  fingerprint: string
  port: number
  addresses: string[]
  observed_address: string | null
  capabilities: object
  last_seen: Date
  expires_at: Date
}

/** What only an administrator reads and changes. */
export function createAdministration(sql: Sql) {
  const isOnline = sql`b.expires_at > now() and c.revoked_at is null`
  const state = sql`certificate_state(c.not_before, c.not_after)`
  const listed = sql`
    c.id, c.email, c.fingerprint, c.not_after, c.revoked_at,
    case
      when c.revoked_at is not null then 'revoked'
      when ${state} = 'valid' then 'in_force'
      else ${state}
    end as state,
    case when ${isOnline} then b.expires_at end as online_until`

  const filtered = ({ email, fingerprint }: BroadcastFilter, after = '') => sql`
    c.email > ${after}
    ${email === undefined ? sql`` : sql`and strpos(c.email, ${email.toLowerCase()}) > 0`}
    ${fingerprint === undefined ? sql`` : sql`and starts_with(c.fingerprint, ${fingerprint})`}`

  /** One row too many shows whether there is a next page. */
  async function page<Row extends { email: string }>(query: Fragment, limit: number) {
    const rows = await sql<Row[]>`${query} order by c.email limit ${limit + 1}`
    const shown = rows.slice(0, limit)
    return { rows: shown, next: rows.length > limit ? String(shown.at(-1)?.email) : null }
  }

  const hasChanged = async (statement: Fragment) => (await statement).length > 0

  return {
    async stats() {
      const [counts] = await sql<[Record<string, number>]>`
        select clients.*, others.*, (select max(version)::integer from schema_migrations) as schema_version,
          pg_database_size(current_database())::float8 as database_bytes
        from (
          select count(*)::integer as clients,
            count(*) filter (where c.revoked_at is not null)::integer as revoked,
            count(*) filter (where c.revoked_at is null and ${state} = 'expired')::integer as expired,
            count(*) filter (
              where c.revoked_at is null and ${state} <> 'expired' and c.not_after <= now() + interval '30 days'
            )::integer as expire_within_30_days,
            count(*) filter (where c.proven_at is not null)::integer as key_proven,
            count(*) filter (where c.email_verified_at is not null)::integer as email_verified,
            count(*) filter (where ${isOnline})::integer as online,
            count(*) filter (where b.expires_at <= now())::integer as broadcasts_to_clean_up
          from clients c left join broadcasts b on b.client_id = c.id
        ) clients, (
          select (select count(*)::integer from pending_certificates) as pending_certificates,
            (select count(*)::integer from pending_registrations where expires_at > now()) as pending_registrations
        ) others`
      return counts
    },

    async find({ column, value }: ClientName): Promise<Client | undefined> {
      const [client] = await sql<[Client?]>`select id, email, fingerprint from clients where ${sql(column)} = ${value}`
      return client
    },

    async list({ limit, after, revoked, online, expiresWithin, ...filter }: Paging & ClientFilter) {
      const { rows, next } = await page<ListedClient>(
        sql`
          select ${listed} from clients c left join broadcasts b on b.client_id = c.id
          where ${filtered(filter, after)}
            ${revoked ? sql`and c.revoked_at is not null` : sql``}
            ${online ? sql`and ${isOnline}` : sql``}
            ${
              expiresWithin === undefined
                ? sql``
                : sql`and c.revoked_at is null and ${state} = 'valid'
                    and c.not_after <= now() + make_interval(days => ${expiresWithin})`
            }`,
        limit
      )
      return { clients: rows, next }
    },

    async show({ column, value }: ClientName): Promise<ShownClient | undefined> {
      const [client] = await sql<[ShownClient?]>`
        select ${listed}, c.revocation_reason, c.common_name, c.not_before, c.created_at, c.proven_at, c.email_verified_at,
          (
            select json_build_object('fingerprint', p.fingerprint, 'not_before', p.not_before, 'not_after', p.not_after)
            from pending_certificates p where p.client_id = c.id
          ) as pending_certificate,
          case when b.client_id is not null then json_build_object('port', b.port, 'addresses', b.addresses,
            'observed_address', b.observed_address, 'capabilities', b.capabilities) end as broadcast
        from clients c left join broadcasts b on b.client_id = c.id
        where c.${sql(column)} = ${value}`
      return client
    },

    /** @returns whether it was not revoked before */
    async revoke(id: string, reason: string | null): Promise<boolean> {
      return hasChanged(sql`
        update clients set revoked_at = now(), revocation_reason = ${reason}
        where id = ${id} and revoked_at is null returning id`)
    },

    async restore(id: string): Promise<boolean> {
      return hasChanged(sql`
        update clients set revoked_at = null, revocation_reason = null
        where id = ${id} and revoked_at is not null returning id`)
    },

    /** Deletes a client and everything about it, including pending registrations with its certificate. */
    async delete(id: string): Promise<boolean> {
      return hasChanged(sql`
        with deleted as (delete from clients where id = ${id} returning id, fingerprint),
        pending as (delete from pending_registrations p using deleted where p.fingerprint = deleted.fingerprint)
        select id from deleted`)
    },

    async drop(id: string): Promise<boolean> {
      return hasChanged(sql`delete from broadcasts where client_id = ${id} returning client_id`)
    },

    /** Who is online, as peers see it. */
    async listBroadcasts({ limit, after, ...filter }: Paging & BroadcastFilter) {
      const { rows, next } = await page<ListedBroadcast>(
        sql`
          select c.email, c.fingerprint, b.port, array_to_json(b.addresses) as addresses, b.observed_address, b.capabilities,
            b.last_announced_at as last_seen, b.expires_at
          from clients c join broadcasts b on b.client_id = c.id
          where ${isOnline} and ${filtered(filter, after)}`,
        limit
      )
      return { broadcasts: rows, next }
    }
  }
}
