import type { Pool } from '../../postgres/pool.ts'
import type { Certificate } from '../certificate.ts'

/** Per hour: mails to one address, and registrations by one caller. */
const MAX_PER_RECIPIENT = 5
const MAX_PER_SENDER = 10

/** A mail to send, and its registration. */
interface Mail {
  id: string
  email: string
  fingerprint: string
}

/** A client whose e-mail address was confirmed. */
interface Confirmed {
  id: string
  email: string
  fingerprint: string
  /** The ids of the clients that it displaced. */
  displaced: string[]
}

/** Registrations whose e-mail address is still to be confirmed. */
export function createPendingRegistrations({ query, queryIdempotent, sql }: Pool) {
  return {
    /**
     * Adds a registration that is pending for 24 hours, or for as long as its certificate is valid, and has its mail sent; the same pair
     * again has another one sent. An address that has had its mails for this hour gets none, which the answer does not reveal: others may
     * have asked for them.
     *
     * @param isProven whether the caller has the certificate's key
     * @param sender the caller's IP address. IPv6 counts by /64, unless it is link-local, as in nginx/relay/caller.conf
     * @returns the id of the future client; undefined if this caller asked for too much within an hour
     */
    async add(
      email: string,
      { der, commonName, notBefore, notAfter }: Certificate,
      isProven: boolean,
      sender: string | null,
      signal?: AbortSignal
    ): Promise<string | undefined> {
      const counted = (max: number) => sql`
        on conflict (subject) do update set
          count = case when mail_counts.began_at > now() - interval '1 hour' then mail_counts.count + 1 else 1 end,
          began_at = case when mail_counts.began_at > now() - interval '1 hour' then mail_counts.began_at else now() end
        where mail_counts.count < ${max} or mail_counts.began_at <= now() - interval '1 hour'
        returning subject`
      // A caller who asks for too much does not use up anybody's mails.
      const [registration] = await query<[{ id: string }?]>(signal)`
        with sender as (
          insert into mail_counts (subject)
          select 'from ' || coalesce(network(
            case when family(ip) = 6 and not ip <<= 'fe80::/10' then set_masklen(ip, 64) else ip end
          )::text, 'unknown')
          from (select ${sender}::inet) caller (ip)
          ${counted(MAX_PER_SENDER)}
        ), recipient as (
          insert into mail_counts (subject)
          select 'to ' || ${email} from sender
          ${counted(MAX_PER_RECIPIENT)}
        )
        insert into pending_registrations
          (email, certificate, common_name, not_before, not_after, proven_at, expires_at, mail_due_at)
        select ${email}, ${der}::bytea, ${commonName}::text, ${notBefore}::timestamptz, ${notAfter}::timestamptz,
          ${isProven ? sql`now()` : null}::timestamptz, least(now() + interval '24 hours', ${notAfter}::timestamptz),
          (select now() from recipient)
        from sender
        on conflict (email, fingerprint) do update set
          proven_at = coalesce(pending_registrations.proven_at, excluded.proven_at),
          expires_at = excluded.expires_at,
          mail_due_at = coalesce(excluded.mail_due_at, pending_registrations.mail_due_at),
          mail_tries = case when excluded.mail_due_at is null then pending_registrations.mail_tries else 0 end
        -- A client from before addresses were verified keeps its id.
        returning coalesce(
          (select c.id from clients c where ${isProven}::boolean and c.email = pending_registrations.email
            and c.fingerprint = pending_registrations.fingerprint),
          id
        ) as id`
      return registration?.id
    },

    async isPending(fingerprint: string, signal?: AbortSignal): Promise<boolean> {
      const rows = await queryIdempotent(signal)`
        select from pending_registrations where fingerprint = ${fingerprint} and expires_at > now() limit 1`
      return rows.length === 1
    },

    async find(tokenHash: Buffer, signal?: AbortSignal): Promise<{ email: string; fingerprint: string } | undefined> {
      const [registration] = await queryIdempotent<[{ email: string; fingerprint: string }?]>(signal)`
        select email, fingerprint from pending_registrations where token_hash = ${tokenHash} and expires_at > now()`
      return registration
    },

    /**
     * Makes a client of the pending registration that this token confirms. It displaces the client that had the e-mail address, and, if
     * its key was proven, a mere claim on its certificate. The links in all other mails to the address stop working.
     *
     * @returns undefined if there is no such registration; a code if the certificate is somebody else's or the address belongs to a
     *   revoked client
     */
    async confirm(
      tokenHash: Buffer,
      signal?: AbortSignal
    ): Promise<Confirmed | 'certificate_taken' | 'email_taken' | undefined> {
      const [row] = await query<[(Confirmed & { conflict: 'certificate_taken' | 'email_taken' | null })?]>(signal)`
        select id, email, fingerprint, displaced, conflict from confirm_registration(${tokenHash})`
      if (!row) return undefined
      const { conflict, ...confirmed } = row
      return conflict ?? confirmed
    },

    /**
     * Takes a mail that is due. Until `endMail` is called, it is due again after a minute, then two, four and so on, up to an hour.
     *
     * @param tokenHash of the token in the mail; it replaces the one before
     */
    async takeMail(tokenHash: Buffer): Promise<Mail | undefined> {
      const [mail] = await query<[Mail?]>()`
        update pending_registrations set
          token_hash = ${tokenHash},
          mail_tries = mail_tries + 1,
          mail_due_at = now() + least(interval '1 minute' * 2 ^ mail_tries, interval '1 hour')
        where id = (
          select id from pending_registrations
          where mail_due_at <= now() and expires_at > now()
          order by mail_due_at limit 1
          for update skip locked
        )
        returning id, email, fingerprint`
      return mail
    },

    /** Records that a mail was sent or never can be, unless another was asked for meanwhile. */
    async endMail(tokenHash: Buffer): Promise<void> {
      await queryIdempotent()`
        update pending_registrations set mail_due_at = null where token_hash = ${tokenHash} and mail_tries > 0`
    },

    /** Deletes registrations that nobody confirmed in time, at most `limit`; returns how many. */
    async deleteExpired(limit: number): Promise<number> {
      const [{ deleted }] = await query<[{ deleted: number }]>()`
        select delete_expired_registrations(${limit}) as deleted`
      return deleted
    },

    /** Deletes counts of mails that no longer matter, at most `limit`; returns how many. */
    async deleteMailCounts(limit: number): Promise<number> {
      const [{ deleted }] = await query<[{ deleted: number }]>()`select delete_mail_counts(${limit}) as deleted`
      return deleted
    }
  }
}
