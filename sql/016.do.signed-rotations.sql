-- Whoever knows an earlier certificate of a peer can check how it came to its present one, if the old key signed each change. These links
-- are kept beside the certificate, so that a lookup needs no join; where there are none, they take no room.
alter table pending_certificates add column signature bytea check (octet_length(signature) between 1 and 1024);
alter table clients
  add column rotations json[],
  -- Not valid: no row has any yet, so the table need not be read.
  add constraint clients_rotations_check check (cardinality(rotations) between 1 and 8) not valid;

-- Whatever else changes a client's certificate or e-mail address ends the links: a registration with proof, the confirmation of an
-- address, or the previous version, which does not know the columns. For the same reason a signature goes with the certificate that it
-- is for.
create function drop_rotations() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.rotations := null;
  return new;
end $$;

create function drop_signature() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.signature := null;
  return new;
end $$;

revoke execute on function drop_rotations(), drop_signature() from public;

create trigger rotations_dropped before update of email, certificate on clients for each row
  when ((new.email, new.certificate) <> (old.email, old.certificate) and new.rotations::text = old.rotations::text)
  execute function drop_rotations();

create trigger signature_dropped before update of certificate on pending_certificates for each row
  when (new.certificate <> old.certificate and new.signature = old.signature)
  execute function drop_signature();

do $migration$ begin
  execute replace($functions$

-- As before; and with the old key's signature, if there is one, it adds a link. The last eight are kept, or fewer large ones: 16 KiB of
-- JSON, so that a lookup stays small. Without a signature, there are none any more.
create or replace function take_over_certificate(next_fingerprint text) returns table (id uuid, previous text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  pending SCHEMA.pending_certificates;
  links json[];
begin
  -- The client first, as whoever removes one does: otherwise the two could wait for each other.
  select c.id, c.fingerprint, c.rotations into id, previous, links
  from SCHEMA.clients c join SCHEMA.pending_certificates p on p.client_id = c.id
  where p.fingerprint = next_fingerprint and c.revoked_at is null and SCHEMA.certificate_state(p.not_before, p.not_after) = 'valid'
    and not exists (
      select from SCHEMA.pending_registrations r
      where r.fingerprint = next_fingerprint and r.proven_at is not null and r.expires_at > now()
    )
  order by p.created_at desc, p.client_id limit 1 for update of c;
  delete from SCHEMA.pending_certificates p
  where p.client_id = take_over_certificate.id and p.fingerprint = next_fingerprint returning * into pending;
  if not found then
    return;
  end if;
  links := case when pending.signature is not null then
    array_append(links, json_build_object(
      'certificate', concat(
        E'-----BEGIN CERTIFICATE-----\n',
        regexp_replace(translate(encode(pending.certificate, 'base64'), E'\n', ''), '.{1,64}', E'\\&\n', 'g'),
        E'-----END CERTIFICATE-----\n'
      ),
      'signature', translate(encode(pending.signature, 'base64'), E'+/=\n', '-_')
    ))
  end;
  while cardinality(links) > 8 or octet_length(array_to_json(links)::text) > 16384 loop
    links := links[2:];
  end loop;
  update SCHEMA.clients c set
    certificate = pending.certificate,
    common_name = pending.common_name,
    not_before = pending.not_before,
    not_after = pending.not_after,
    proven_at = null,
    rotations = links
  where c.id = take_over_certificate.id;
  return next;
exception when unique_violation then
  -- Somebody has registered it meanwhile: it is theirs.
end $$;

  $functions$, 'SCHEMA', quote_ident(current_schema()));
end $migration$;
