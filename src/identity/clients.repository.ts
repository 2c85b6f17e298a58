import type { Pool } from '../postgres/pool.ts'
import { anyOf } from '../postgres/postgres-driver.ts'
import type { Certificate } from './certificate.ts'

export interface Client {
  id: string
  email: string
  isRevoked: boolean
  /** The certificate's, by the database's clock. */
  state: 'valid' | 'expired' | 'not_yet_valid'
}

interface Registered {
  id: string
  /** The id of the client that it displaced, its own if it took over a claim; null if there was none. */
  displaced: string | null
}

export type ValidityConflict = 'certificate_expired' | 'certificate_not_yet_valid'

/** Why a registration is refused; `already_registered` means the very same pair. */
type Conflict = 'email_taken' | 'certificate_taken' | 'already_registered' | 'certificate_revoked' | ValidityConflict

/** Statements about registered clients. */
export function createClients({ query, queryIdempotent, coalesce, sql }: Pool) {
  return {
    /**
     * Registers a client, or returns why not; the constraints decide, even in a race. A client whose certificate has expired loses its
     * e-mail address. A revoked client keeps both.
     *
     * @param isProven whether the caller has the certificate's key, and so displaces a mere claim on the certificate
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
        -- Counting them makes sure that they are deleted first.
        select ${email}, ${der}::bytea, ${commonName}::text, ${notBefore}::timestamptz, ${notAfter}::timestamptz,
          ${isProven ? sql`now()` : null}::timestamptz
        from (select count(*) from expired) gone
        where ${state} = 'valid'
        on conflict do nothing
        returning id, (select id from expired) as displaced`
      if (client) return client

      // Merely calling with a certificate proves no claim: the caller may not know under which address a stranger made it.
      if (isProven) {
        await query(signal)`
          update clients set proven_at = now()
          where fingerprint = ${fingerprint} and email = ${email} and proven_at is null`
        const claim = query<[{ id: string | null }]>(signal)
        const [{ id }] = await claim`select claim_certificate(${email}, ${fingerprint}) as id`
        if (id !== null) return { id, displaced: id }
      }

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
     * Why this pair cannot be registered even with a confirmed e-mail address: it is registered and confirmed, or the certificate is not
     * valid, revoked, or somebody else's. Who has the address does not matter yet. Without proof of the key, the answer does not depend on
     * the address, or it would reveal the certificate's.
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

    /** The client whose certificate has this fingerprint. */
    find: coalesce(async (fingerprints: string[], send): Promise<(Client | undefined)[]> => {
      const clients = await send<(Client & { fingerprint: string })[]>`
        select fingerprint, id, email, revoked_at is not null as "isRevoked",
          certificate_state(not_before, not_after) as state
        from clients where fingerprint = ${anyOf(sql, fingerprints)}`
      const found = new Map(clients.map((client) => [client.fingerprint, client]))
      return fingerprints.map((fingerprint) => found.get(fingerprint))
    }),

    /** Removes the client with this certificate, unless it is revoked, and its pending registrations. */
    async remove(fingerprint: string, signal?: AbortSignal): Promise<void> {
      await queryIdempotent(signal)`
        with pending as (delete from pending_registrations where fingerprint = ${fingerprint})
        delete from clients where fingerprint = ${fingerprint} and revoked_at is null`
    }
  }
}
