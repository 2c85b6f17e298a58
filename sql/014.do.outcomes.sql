-- A pending certificate reserves nothing: several clients may have named it, and until its holder presents it, nobody has it.
alter table pending_certificates drop constraint pending_certificates_fingerprint_key;
create index pending_certificates_fingerprint_idx on pending_certificates (fingerprint);

-- The statements that the constraints on clients may refuse. That somebody else registered at the same moment is an outcome like any other; as an
-- error, PostgreSQL would write it to its log, with the e-mail address. All run with the rights of whoever calls them.
do $migration$ begin
  execute replace($functions$

-- Gives a mere claim on a certificate to whoever has proven its key, unless the e-mail address is somebody else's.
create function claim_certificate(for_email text, of_fingerprint text) returns uuid
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  claimed uuid;
begin
  update SCHEMA.clients set email = for_email, created_at = now(), proven_at = now()
  where fingerprint = of_fingerprint and email <> for_email and proven_at is null and revoked_at is null
    and SCHEMA.certificate_state(not_before, not_after) = 'valid'
  returning clients.id into claimed;
  return claimed;
exception when unique_violation then
  return null;
end $$;

-- Puts a pending certificate in force, since its key was proven. Of several clients that named it, the last one has it; none has it while
-- whoever proved the key has a registration of their own waiting to be confirmed.
create function take_over_certificate(next_fingerprint text) returns table (id uuid, previous text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- The client first, as whoever removes one does: otherwise the two could wait for each other.
  select c.id, c.fingerprint into id, previous
  from SCHEMA.clients c join SCHEMA.pending_certificates p on p.client_id = c.id
  where p.fingerprint = next_fingerprint and c.revoked_at is null and SCHEMA.certificate_state(p.not_before, p.not_after) = 'valid'
    and not exists (
      select from SCHEMA.pending_registrations r
      where r.fingerprint = next_fingerprint and r.proven_at is not null and r.expires_at > now()
    )
  order by p.created_at desc, p.client_id limit 1 for update of c;
  with next as (
    delete from SCHEMA.pending_certificates p
    where p.client_id = take_over_certificate.id and p.fingerprint = next_fingerprint returning *
  )
  update SCHEMA.clients c set
    certificate = next.certificate,
    common_name = next.common_name,
    not_before = next.not_before,
    not_after = next.not_after,
    proven_at = null
  from next where c.id = next.client_id;
  if found then
    return next;
  end if;
exception when unique_violation then
  -- Somebody has registered it meanwhile: it is theirs.
end $$;

-- Makes a client of the pending registration that a token confirms. It takes the e-mail address over from whoever had it, and, if its
-- certificate's key was proven, the certificate from a mere claim on it. The address's other links end; the registrations they belong to
-- stay as they are, since their end would reveal that the address is somebody's.
create function confirm_registration(hash_of_token bytea)
  returns table (id uuid, email text, fingerprint text, displaced json, conflict text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  confirmed SCHEMA.pending_registrations;
begin
  -- All of the address, in one order: otherwise two who confirm it could wait for each other.
  perform from SCHEMA.pending_registrations r
  where r.email = (
    select same.email from SCHEMA.pending_registrations same where same.token_hash = hash_of_token and same.expires_at > now()
  )
  order by r.id for update;
  delete from SCHEMA.pending_registrations r where r.token_hash = hash_of_token and r.expires_at > now() returning * into confirmed;
  if not found then
    return;
  end if;
  update SCHEMA.pending_registrations r set token_hash = null, mail_due_at = null where r.email = confirmed.email;
  with gone as (
    -- A client and not only its certificate, so that no call under way with the old one counts for the new one.
    delete from SCHEMA.clients c
    where c.revoked_at is null and (
      (c.email = confirmed.email and c.fingerprint <> confirmed.fingerprint)
      or (c.fingerprint = confirmed.fingerprint and c.email <> confirmed.email
        and c.proven_at is null and confirmed.proven_at is not null)
    )
    returning c.id
  )
  select coalesce(json_agg(gone.id), '[]') into displaced from gone;
  email := confirmed.email;
  fingerprint := confirmed.fingerprint;
  insert into SCHEMA.clients as c (id, email, certificate, common_name, not_before, not_after, proven_at, email_verified_at)
  values (confirmed.id, confirmed.email, confirmed.certificate, confirmed.common_name, confirmed.not_before, confirmed.not_after,
    confirmed.proven_at, now())
  on conflict on constraint clients_email_key do update set
    certificate = excluded.certificate,
    common_name = excluded.common_name,
    not_before = excluded.not_before,
    not_after = excluded.not_after,
    proven_at = case
      when c.certificate = excluded.certificate then coalesce(c.proven_at, excluded.proven_at)
      else excluded.proven_at
    end,
    email_verified_at = excluded.email_verified_at
  where c.revoked_at is null
  returning c.id into id;
  if id is null then
    conflict := 'email_taken';
  end if;
  return next;
exception when unique_violation then
  conflict := 'certificate_taken';
  return next;
end $$;

  $functions$, 'SCHEMA', quote_ident(current_schema()));
end $migration$;
