import type { Pool } from '../postgres/pool.ts'
import type { Certificate } from './certificate.ts'
import type { ValidityConflict } from './clients.repository.ts'

interface Validity {
  fingerprint: string
  not_before: Date
  not_after: Date
}

/** Statements about changing from one certificate to the next. */
export function createRotations({ query, queryIdempotent }: Pool) {
  return {
    /** A client's valid certificate, which has this fingerprint, and the next one. */
    async find(
      fingerprint: string,
      signal?: AbortSignal
    ): Promise<(Validity & { pending: Validity | null }) | undefined> {
      const [row] = await queryIdempotent<[(Validity & { next: string | null; from: Date; to: Date })?]>(signal)`
        select c.fingerprint, c.not_before, c.not_after,
          p.fingerprint as next, p.not_before as "from", p.not_after as "to"
        from clients c left join pending_certificates p on p.client_id = c.id
        where c.fingerprint = ${fingerprint}`
      if (!row) return undefined
      const { next, from, to, ...current } = row
      return { ...current, pending: next === null ? null : { fingerprint: next, not_before: from, not_after: to } }
    },

    /**
     * Makes a certificate the client's next one, in place of any earlier choice. This reserves nothing: others may choose the same.
     *
     * @param current the fingerprint of the client's valid certificate
     * @param signature that of `current`'s key; null if there is none
     * @returns why not; `certificate_taken` if it is registered, or if `current` is not any more
     */
    async propose(
      current: string,
      certificate: Certificate,
      signature: Buffer | null,
      signal?: AbortSignal
    ): Promise<ValidityConflict | 'certificate_taken' | undefined> {
      const { der, fingerprint, commonName, notBefore, notAfter } = certificate
      const [{ refusal }] = await queryIdempotent<[{ refusal: ValidityConflict | 'certificate_taken' | null }]>(signal)`
        with judged as (
          select certificate_state(${notBefore}::timestamptz, ${notAfter}::timestamptz) as state
        ), proposed as (
          insert into pending_certificates (client_id, certificate, common_name, not_before, not_after, signature)
          select id, ${der}::bytea, ${commonName}::text, ${notBefore}::timestamptz, ${notAfter}::timestamptz,
            ${signature}::bytea
          from clients, judged
          where fingerprint = ${current} and state = 'valid' and not exists (select from clients where fingerprint = ${fingerprint})
          for key share of clients -- so that nobody removes the client, or changes its certificate, meanwhile
          on conflict (client_id) do update set
            certificate = excluded.certificate,
            common_name = excluded.common_name,
            not_before = excluded.not_before,
            not_after = excluded.not_after,
            created_at = excluded.created_at,
            signature = excluded.signature
          returning client_id
        )
        select case when state <> 'valid' then 'certificate_' || state
          when not exists (select from proposed) then 'certificate_taken' end as refusal
        from judged`
      return refusal ?? undefined
    },

    /** @returns whether there was a next certificate */
    async withdraw(clientId: string, signal?: AbortSignal): Promise<boolean> {
      const withdrawn = await queryIdempotent(signal)`
        delete from pending_certificates where client_id = ${clientId} returning client_id`
      return withdrawn.length > 0
    },

    /**
     * Makes the pending certificate with this fingerprint the client's valid one, because its key was proven. Its holder need not want the
     * client's e-mail address, because a stranger may have chosen the certificate: a registration with proof, pending or not, still
     * displaces the client. Of several clients that chose it, the last one gets it. A revoked client gets none.
     *
     * @returns the client, and the fingerprint of its former certificate; undefined if there is nothing to take over
     */
    async takeOver(fingerprint: string, signal?: AbortSignal): Promise<{ id: string; previous: string } | undefined> {
      const [client] = await query<[{ id: string; previous: string }?]>(signal)`
        select id, previous from take_over_certificate(${fingerprint})`
      return client
    }
  }
}
