import type { Pool } from '../postgres/pool.ts'
import { anyOf } from '../postgres/postgres-driver.ts'
import type { Certificate } from './certificate.ts'

export interface Client {
  id: string
  email: string
  isRevoked: boolean
  /** Of its certificate, by the database's clock. */
  state: 'valid' | 'expired' | 'not_yet_valid'
}

/** A client that was registered. */
export interface Registered {
  id: string
  /** The client that had to go for it; itself when it took a claim over; null when there was none. */
  displaced: string | null
}

/** Why the database's clock forbids to register a certificate. */
export type Untimely = 'certificate_expired' | 'certificate_not_yet_valid'

/** Why a registration is refused; `already_registered`: the very same pair again. */
export type Conflict = 'email_taken' | 'certificate_taken' | 'already_registered' | 'certificate_revoked' | Untimely

/** Who is registered. */
export function createClients({ query, queryIdempotent, coalesce, sql }: Pool) {
  /**
   * Records that whoever registers this pair holds the certificate's key: a mere claim on it becomes this
   * registration, unless the e-mail address is somebody else's. To call with it is not enough: who called may not know under
   * which address a stranger claimed the certificate.
   */
  async function claimProven(
    email: string,
    fingerprint: string,
    signal?: AbortSignal
  ): Promise<Registered | undefined> {
    await query(signal)`
      update clients set proven_at = now()
      where fingerprint = ${fingerprint} and email = ${email} and proven_at is null`
    const [{ id }] = await query<[{ id: string | null }]>(
      signal
    )`select claim_certificate(${email}, ${fingerprint}) as id`
    return id === null ? undefined : { id, displaced: id }
  }

  return {
    /**
     * Registers a client, or tells what of it is taken: the constraints decide, also in a race. Whose certificate has expired holds
     * its e-mail address no more, for nobody can use it. Who is revoked keeps both, whatever else holds.
     *
     * @param isProven whether the caller holds the certificate's key; it then displaces a mere claim on the certificate
     */
    async register(
      email: string,
      certificate: Certificate,
      isProven: boolean,
      signal?: AbortSignal
    ): Promise<Registered | { conflict: Conflict }> {
      const { der, fingerprint, commonName, notBefore, notAfter } = certificate
      const state = sql`certificate_state(${notBefore}::timestamptz, ${notAfter}::timestamptz)`
      const [client] = await query<[Registered?]>(signal)`
        with expired as (
          delete from clients
          where email = ${email} and certificate_state(not_before, not_after) = 'expired' and revoked_at is null
            and ${state} = 'valid'
          returning id
        )
        insert into clients (email, certificate, common_name, not_before, not_after, proven_at)
        -- To count them has them gone before.
        select ${email}, ${der}::bytea, ${commonName}::text, ${notBefore}::timestamptz, ${notAfter}::timestamptz,
          ${isProven ? sql`now()` : null}::timestamptz
        from (select count(*) from expired) gone
        where ${state} = 'valid'
        on conflict do nothing
        returning id, (select id from expired) as displaced`
      if (client) return client

      const heir = isProven ? await claimProven(email, fingerprint, signal) : undefined
      if (heir) return heir

      const [refusal] = await query<[{ conflict: Conflict }]>(signal)`
        select coalesce(
          'certificate_' || nullif(${state}, 'valid'),
          (
            select case when revoked_at is not null then 'certificate_revoked'
              when email = ${email} then 'already_registered' end
            from clients where fingerprint = ${fingerprint}
          ),
          (select 'email_taken' from clients where email = ${email}),
          'certificate_taken'
        ) as conflict`
      return refusal
    },

    /**
     * Why this pair is not to be registered even if the e-mail address is confirmed: it is registered and was confirmed, or the
     * certificate is not valid now, revoked, or somebody else's. Whose the address is does not matter, for that is what is to be confirmed;
     * nor does it change the answer about a certificate whose key was not proven, which would reveal the address that the certificate has.
     */
    async findConflict(
      email: string,
      { fingerprint, notBefore, notAfter }: Certificate,
      isProven: boolean,
      signal?: AbortSignal
    ): Promise<Conflict | undefined> {
      const [{ conflict }] = await queryIdempotent<[{ conflict: Conflict | null }]>(signal)`
        select coalesce(
          'certificate_' || nullif(certificate_state(${notBefore}::timestamptz, ${notAfter}::timestamptz), 'valid'),
          (
            select case
              when revoked_at is not null then 'certificate_revoked'
              when not ${isProven}::boolean then 'certificate_taken'
              when email <> ${email} and proven_at is not null then 'certificate_taken'
              when email = ${email} and email_verified_at is not null then 'already_registered'
            end
            from clients where fingerprint = ${fingerprint}
          )
        ) as conflict`
      return conflict ?? undefined
    },

    /** The one whose certificate has this fingerprint. */
    find: coalesce(async (fingerprints: string[], send): Promise<(Client | undefined)[]> => {
      const clients = await send<(Client & { fingerprint: string })[]>`
        select fingerprint, id, email, revoked_at is not null as "isRevoked",
          certificate_state(not_before, not_after) as state
        from clients where fingerprint = ${anyOf(sql, fingerprints)}`
      const found = new Map(clients.map((client) => [client.fingerprint, client]))
      return fingerprints.map((fingerprint) => found.get(fingerprint))
    }),

    /** Removes the client with this certificate and all about it, also registrations that are pending; not who is revoked. */
    async remove(fingerprint: string, signal?: AbortSignal): Promise<void> {
      await queryIdempotent(signal)`
        with pending as (delete from pending_registrations where fingerprint = ${fingerprint})
        delete from clients where fingerprint = ${fingerprint} and revoked_at is null`
    }
  }
}
