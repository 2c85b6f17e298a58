import type { Pool } from '../postgres/pool.ts'
import type { Certificate } from './certificate.ts'
import type { Untimely } from './clients.repository.ts'

export interface Validity {
  fingerprint: string
  not_before: Date
  not_after: Date
}

/** A client's certificate in force, and the one that is to follow it. */
export interface Certificates extends Validity {
  pending: Validity | null
}

/** The change from one certificate to the next. */
export function createRotations({ query, queryIdempotent }: Pool) {
  return {
    async find(clientId: string, signal?: AbortSignal): Promise<Certificates | undefined> {
      const [row] = await queryIdempotent<[(Validity & { next: string | null; from: Date; to: Date })?]>(signal)`
        select c.fingerprint, c.not_before, c.not_after,
          p.fingerprint as next, p.not_before as "from", p.not_after as "to"
        from clients c left join pending_certificates p on p.client_id = c.id
        where c.id = ${clientId}`
      if (!row) return undefined
      const { next, from, to, ...inForce } = row
      return { ...inForce, pending: next === null ? null : { fingerprint: next, not_before: from, not_after: to } }
    },

    /**
     * Makes a certificate the client's next one, in place of any other that was to be. It reserves nothing: others may have named the same.
     *
     * @returns why not, if so; `certificate_taken` when it is registered, or the client was removed meanwhile
     */
    async propose(
      clientId: string,
      certificate: Certificate,
      signal?: AbortSignal
    ): Promise<Untimely | 'certificate_taken' | undefined> {
      const { der, fingerprint, commonName, notBefore, notAfter } = certificate
      const [{ refusal }] = await queryIdempotent<[{ refusal: Untimely | 'certificate_taken' | null }]>(signal)`
        with judged as (
          select certificate_state(${notBefore}::timestamptz, ${notAfter}::timestamptz) as state
        ), proposed as (
          insert into pending_certificates (client_id, certificate, common_name, not_before, not_after)
          select id, ${der}::bytea, ${commonName}::text, ${notBefore}::timestamptz, ${notAfter}::timestamptz
          from clients, judged
          where id = ${clientId} and state = 'valid' and not exists (select from clients where fingerprint = ${fingerprint})
          for key share of clients -- nobody removes the client meanwhile
          on conflict (client_id) do update set
            certificate = excluded.certificate,
            common_name = excluded.common_name,
            not_before = excluded.not_before,
            not_after = excluded.not_after,
            created_at = excluded.created_at
          returning client_id
        )
        select case when state <> 'valid' then 'certificate_' || state
          when not exists (select from proposed) then 'certificate_taken' end as refusal
        from judged`
      return refusal ?? undefined
    },

    /** @returns whether there was one that was to follow */
    async withdraw(clientId: string, signal?: AbortSignal): Promise<boolean> {
      const withdrawn = await queryIdempotent(signal)`
        delete from pending_certificates where client_id = ${clientId} returning client_id`
      return withdrawn.length > 0
    },

    /**
     * Puts the pending certificate with this fingerprint in force, for its key was proven. Not so that its holder wants the
     * client's e-mail address: who announced it may have been a stranger, so a registration with proof still displaces it, and one that
     * is pending with proof is not forestalled. Of several clients that announced it, the last one has it. Nothing follows a revoked
     * client's certificate.
     *
     * @returns whose it is, and the fingerprint of the one that ended; undefined when none is to be put in force
     */
    async takeOver(fingerprint: string, signal?: AbortSignal): Promise<{ id: string; previous: string } | undefined> {
      const [client] = await query<[{ id: string; previous: string }?]>(signal)`
        select id, previous from take_over_certificate(${fingerprint})`
      return client
    }
  }
}
