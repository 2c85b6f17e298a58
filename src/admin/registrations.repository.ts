import type { ValidityConflict } from '../identity/clients.repository.ts'
import type { Link } from '../identity/rotation-signature.ts'
import { json, type Sql } from '../postgres/postgres-driver.ts'
import type { Client } from './admin.repository.ts'

/** A registration as it moves from one database to another. */
export interface Registration extends Client {
  /** DER. */
  certificate: Buffer
  created_at: Date
  proven_at: Date | null
  email_verified_at: Date | null
  revoked_at: Date | null
  revocation_reason: string | null
  rotations: Link[] | null
}

/** A registration to add. Times are in RFC 3339; what is omitted is set as for a new registration. */
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
  rotations?: Link[] | undefined
}

/** What became of a registration to add; `present`: the same pair was already registered. */
export type Added = 'added' | 'present' | 'email_taken' | 'certificate_taken' | 'id_taken' | ValidityConflict

/** Rows that an export holds in memory. */
const CHUNK = 1000

/** Moves registrations from one database to another. */
export function createRegistrations(sql: Sql) {
  const key = ({ email, fingerprint }: { email: string; fingerprint: string }) => `${email} ${fingerprint}`

  return {
    /** Every registration at one moment, by e-mail address, in chunks. */
    async *everyone(): AsyncGenerator<Registration[]> {
      yield* sql<Registration[]>`
        select id, email, fingerprint, certificate, created_at, proven_at, email_verified_at, revoked_at, revocation_reason,
          array_to_json(rotations) as rotations
        from clients order by email`.cursor(CHUNK)
    },

    /** Adds registrations with a valid certificate, unless something of theirs is taken. Existing ones stay as they are. */
    async add(registrations: NewRegistration[]): Promise<Added[]> {
      const states = await statesOf(registrations)
      const added = (await addValid(registrations.filter((_, n) => states[n]?.state === 'valid'))).values()
      return states.map(({ state }) =>
        state === 'valid' ? (added.next().value as Added) : (`certificate_${state}` as const)
      )
    }
  }

  /** Whether each certificate is valid; whether a revoked one was valid when it was revoked. */
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
        email_verified_at, revoked_at, revocation_reason, rotations)
      select coalesce(id, gen_random_uuid()), email, decode(certificate, 'base64'), common_name, not_before, not_after,
        coalesce(created_at, now()), proven_at, email_verified_at, revoked_at, revocation_reason, rotations
      from json_to_recordset(${json(sql, registrations)}) r (
        id uuid, email text, certificate text, common_name text, not_before timestamptz, not_after timestamptz,
        created_at timestamptz, proven_at timestamptz, email_verified_at timestamptz, revoked_at timestamptz,
        revocation_reason text, rotations json[]
      )
      on conflict do nothing
      returning email, fingerprint`
    const added = new Set(rows.map(key))
    const skipped = registrations.filter((registration) => !added.has(key(registration)))
    const taken = skipped.length > 0 ? await findTaken(skipped) : new Map<string, Added>()
    // Of two equal pairs, the first one was added.
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
