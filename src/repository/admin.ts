import { type Fragment, json, type Sql } from '../database.ts'
import type { Untimely } from './clients.ts'

/** How a client is named: by what is unique. */
export interface ClientName {
  column: 'email' | 'fingerprint' | 'id'
  value: string
}

export interface Client {
  id: string
  email: string
  fingerprint: string
}

export interface ListedClient extends Client {
  state: 'in_force' | 'revoked' | 'expired' | 'not_yet_valid'
  not_after: Date
  /** When it was revoked. */
  revoked_at: Date | null
  /** Null for who is offline. */
  online_until: Date | null
}

/** All about a client. */
export interface ShownClient extends ListedClient {
  revocation_reason: string | null
  common_name: string | null
  not_before: Date
  created_at: Date
  proven_at: Date | null
  email_verified_at: Date | null
  pending_certificate: { fingerprint: string; not_before: string; not_after: string } | null
  /** What it announced last, unless that was deleted. */
  broadcast: { addresses: string[]; port: number; observed_address: string | null; capabilities: object } | null
}

interface Paging {
  limit: number
  /** The e-mail address after which the page begins. */
  after: string
}

export interface BroadcastFilter {
  /** A part of the e-mail address. */
  email?: string
  /** The beginning of the fingerprint. */
  fingerprint?: string
}

export interface ClientFilter extends BroadcastFilter {
  revoked: boolean
  online: boolean
  /** Days. */
  expiresWithin?: number
}

export interface ListedBroadcast {
  email: string
  fingerprint: string
  port: number
  addresses: string[]
  observed_address: string | null
  capabilities: object
  last_seen: Date
  expires_at: Date
}

/** A registration as it is carried from one database to another. */
export interface Registration extends Client {
  /** DER. */
  certificate: Buffer
  created_at: Date
  proven_at: Date | null
  email_verified_at: Date | null
  revoked_at: Date | null
  revocation_reason: string | null
}

/** One to be added. Times are RFC 3339; what is left out is made as for a new registration. */
export interface NewRegistration {
  id?: string | undefined
  email: string
  fingerprint: string
  /** DER in base64. */
  certificate: string
  common_name: string | null
  not_before: Date
  not_after: Date
  created_at?: string | undefined
  proven_at?: string | undefined
  email_verified_at?: string | undefined
  revoked_at?: string | undefined
  revocation_reason?: string | undefined
}

/** What became of one to be added; `present`: the very same pair is registered. */
export type Added = 'added' | 'present' | 'email_taken' | 'certificate_taken' | 'id_taken' | Untimely

export type Administration = ReturnType<typeof createAdministration>

/** Rows that an export has in memory at once. */
const CHUNK = 1000

/** What only an administrator asks and does; over a connection of its own, for some of it takes long. */
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

  const filtered = ({ email, fingerprint }: BroadcastFilter, after: string) => sql`
    c.email > ${after}
    ${email === undefined ? sql`` : sql`and strpos(c.email, ${email.toLowerCase()}) > 0`}
    ${fingerprint === undefined ? sql`` : sql`and starts_with(c.fingerprint, ${fingerprint})`}`

  /** One more than the page has tells whether there is a next one. */
  async function page<Row extends { email: string }>(query: Fragment, limit: number) {
    const rows = await sql<Row[]>`${query} order by c.email limit ${limit + 1}`
    const shown = rows.slice(0, limit)
    return { rows: shown, next: rows.length > limit ? String(shown.at(-1)?.email) : null }
  }

  const isDone = (rows: readonly unknown[]) => rows.length > 0

  const key = ({ email, fingerprint }: { email: string; fingerprint: string }) => `${email} ${fingerprint}`

  return {
    /** How many of what. */
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

    /** Takes a client's certificate out of force; false when it was already. */
    async revoke(id: string, reason: string | null): Promise<boolean> {
      return isDone(
        await sql`
          update clients set revoked_at = now(), revocation_reason = ${reason}
          where id = ${id} and revoked_at is null returning id`
      )
    },

    async restore(id: string): Promise<boolean> {
      return isDone(
        await sql`
          update clients set revoked_at = null, revocation_reason = null
          where id = ${id} and revoked_at is not null returning id`
      )
    },

    /** Deletes a client and all about it, also registrations with its certificate that are pending. */
    async delete(id: string): Promise<boolean> {
      return isDone(
        await sql`
          with deleted as (delete from clients where id = ${id} returning id, fingerprint),
          pending as (delete from pending_registrations p using deleted where p.fingerprint = deleted.fingerprint)
          select id from deleted`
      )
    },

    /** Deletes what a client announced. */
    async drop(id: string): Promise<boolean> {
      return isDone(await sql`delete from broadcasts where client_id = ${id} returning client_id`)
    },

    /** Who is online, as peers see it. */
    async listBroadcasts({ limit, after, ...filter }: Paging & BroadcastFilter) {
      const { rows, next } = await page<ListedBroadcast>(
        sql`
          select c.email, c.fingerprint, b.port, array_to_json(b.addresses) as addresses, b.observed_address, b.capabilities,
            b.last_heartbeat as last_seen, b.expires_at
          from clients c join broadcasts b on b.client_id = c.id
          where ${isOnline} and ${filtered(filter, after)}`,
        limit
      )
      return { broadcasts: rows, next }
    },

    /** Every registration of one moment, by e-mail address, some at a time. */
    async *everyone(): AsyncGenerator<Registration[]> {
      yield* sql<Registration[]>`
        select id, email, fingerprint, certificate, created_at, proven_at, email_verified_at, revoked_at, revocation_reason
        from clients order by email`.cursor(CHUNK)
    },

    /** Adds registrations whose certificates are valid, where nothing of them is taken. What there is stays as it is. */
    async add(registrations: NewRegistration[]): Promise<Added[]> {
      const states = await statesOf(registrations)
      const added = (await addValid(registrations.filter((_, n) => states[n]?.state === 'valid'))).values()
      return states.map(({ state }) =>
        state === 'valid' ? (added.next().value as Added) : (`certificate_${state}` as const)
      )
    }
  }

  /** Of each, whether its certificate is valid; of who is revoked, whether it was then, for nobody uses it any more. */
  async function statesOf(registrations: NewRegistration[]) {
    return sql<{ state: 'valid' | 'expired' | 'not_yet_valid' }[]>`
      select certificate_state(not_before, not_after, coalesce(revoked_at, now())) as state
      from rows from (
        json_to_recordset(${json(sql, registrations)}) as (not_before timestamptz, not_after timestamptz, revoked_at timestamptz)
      ) with ordinality r (not_before, not_after, revoked_at, n)
      order by n`
  }

  async function addValid(registrations: NewRegistration[]): Promise<Added[]> {
    const rows = await sql<Client[]>`
      insert into clients (id, email, certificate, common_name, not_before, not_after, created_at, proven_at,
        email_verified_at, revoked_at, revocation_reason)
      select coalesce(id, gen_random_uuid()), email, decode(certificate, 'base64'), common_name, not_before, not_after,
        coalesce(created_at, now()), proven_at, email_verified_at, revoked_at, revocation_reason
      from json_to_recordset(${json(sql, registrations)}) r (
        id uuid, email text, certificate text, common_name text, not_before timestamptz, not_after timestamptz,
        created_at timestamptz, proven_at timestamptz, email_verified_at timestamptz, revoked_at timestamptz,
        revocation_reason text
      )
      on conflict do nothing
      returning email, fingerprint`
    const added = new Set(rows.map(key))
    const left = registrations.filter((registration) => !added.has(key(registration)))
    const taken = left.length > 0 ? await findTaken(left) : new Map<string, Added>()
    // Of the same pair twice, the first one was added.
    return registrations.map((registration) =>
      added.delete(key(registration)) ? 'added' : (taken.get(key(registration)) ?? 'present')
    )
  }

  async function findTaken(registrations: { email: string; fingerprint: string }[]) {
    const rows = await sql<{ email: string; fingerprint: string; fate: Added }[]>`
      select email, fingerprint, case
        when exists (select from clients c where c.email = r.email and c.fingerprint = r.fingerprint) then 'present'
        when exists (select from clients c where c.email = r.email) then 'email_taken'
        when exists (select from clients c where c.fingerprint = r.fingerprint) then 'certificate_taken'
        else 'id_taken'
      end as fate
      from json_to_recordset(${json(sql, registrations)}) r (email text, fingerprint text)`
    return new Map(rows.map((row) => [key(row), row.fate]))
  }
}
