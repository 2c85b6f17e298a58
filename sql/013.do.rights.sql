-- Nothing that runs with the owner's rights may look up a name where the caller can put another one: a temporary table is found before all
-- others, unless pg_temp is last in search_path. So the functions name the tables' schema, whatever it is called, and pg_temp comes last.
-- From PostgreSQL 18 on that holds for triggers too that are no SECURITY DEFINER: a trigger of what a foreign key deletes runs as the owner.

-- Taken by the cleanup for as long as it deletes. Only the owner, and so the functions below, may lock it.
create table cleanup_lock ();

do $migration$ begin
  execute replace($functions$

-- As before, with the rights of whoever writes, who may read both tables.
create or replace function notify_broadcast() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('broadcasts', email) from SCHEMA.clients where id = coalesce(new.client_id, old.client_id);
  return null;
end $$;

create or replace function notify_client() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from SCHEMA.broadcasts where client_id = old.id) then
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

-- What the cleanup may do, and no more: delete what expired. It locks the rows first, which would need a right to change them, and passes over
-- those that are being announced anew. It finds them by where they lie: for so many keys the planner would rather read the whole table.

-- The oldest first; null when another worker is at it.
create function delete_expired_broadcasts(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  deleted integer;
begin
  begin
    lock table SCHEMA.cleanup_lock in exclusive mode nowait;
  exception when lock_not_available then
    return null;
  end;
  delete from SCHEMA.broadcasts where ctid = any(array(
    select ctid from SCHEMA.broadcasts where expires_at <= now()
    order by expires_at limit most for update skip locked
  ));
  get diagnostics deleted = row_count;
  return deleted;
end $$;

create function delete_expired_registrations(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  deleted integer;
begin
  delete from SCHEMA.pending_registrations where ctid = any(array(
    select ctid from SCHEMA.pending_registrations where expires_at <= now()
    order by expires_at limit most for update skip locked
  ));
  get diagnostics deleted = row_count;
  return deleted;
end $$;

-- Those that are of no interest any more.
create function delete_mail_counts(most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  deleted integer;
begin
  delete from SCHEMA.mail_counts where ctid = any(array(
    select ctid from SCHEMA.mail_counts where began_at <= now() - interval '1 hour'
    order by began_at limit most for update skip locked
  ));
  get diagnostics deleted = row_count;
  return deleted;
end $$;

  $functions$, 'SCHEMA', quote_ident(current_schema()));
end $migration$;

revoke execute on function notify_broadcast(), notify_client(), delete_expired_broadcasts(integer),
  delete_expired_registrations(integer), delete_mail_counts(integer) from public;
