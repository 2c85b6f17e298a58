-- When an administrator took a client's certificate out of force, and why. Whoever is revoked keeps e-mail address and
-- certificate, so that nobody has them anew. The list still reads no more of the clients than an index.
alter table clients
  add column revoked_at timestamptz,
  add column revocation_reason text check (length(revocation_reason) between 1 and 500),
  add check (revocation_reason is null or revoked_at is not null),
  drop constraint clients_email_key,
  add constraint clients_email_key unique (email) include (id, fingerprint, revoked_at);

-- As before; and who is revoked goes offline with whatever it announced, and comes back with it.
create or replace function notify_client() returns trigger language plpgsql security definer set search_path from current as $$
begin
  if exists (select from broadcasts where client_id = old.id) then
    perform pg_notify('broadcasts', old.email);
    if tg_op = 'UPDATE' then
      perform pg_notify('broadcasts', new.email);
    end if;
  end if;
  if tg_op = 'DELETE' or new.fingerprint <> old.fingerprint or new.revoked_at is not null then
    perform pg_notify('certificates', old.fingerprint);
  end if;
  return old;
end $$;

drop trigger client_changed on clients;
create trigger client_changed after update on clients for each row
  when (
    old.email <> new.email or old.fingerprint <> new.fingerprint
    or (old.revoked_at is null) <> (new.revoked_at is null)
  )
  execute function notify_client();
