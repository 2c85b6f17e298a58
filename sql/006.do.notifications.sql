-- Tells the processes whose peers watch that something about a peer may have changed: on the channel `broadcasts` by its
-- e-mail address, on `certificates` by the fingerprint that is no longer in force. They look what it is now. A renewal that
-- changes nothing else is not told, for there are many.
create function notify_broadcast() returns trigger language plpgsql security definer set search_path from current as $$
begin
  perform pg_notify('broadcasts', email) from clients where id = coalesce(new.client_id, old.client_id);
  return null;
end $$;

create trigger broadcast_began after insert on broadcasts for each row execute function notify_broadcast();

create trigger broadcast_changed after update on broadcasts for each row
  when (
    old.expires_at <= now()
    or (old.port, old.addresses, old.observed_address, old.capabilities::text)
      is distinct from (new.port, new.addresses, new.observed_address, new.capabilities::text)
  )
  execute function notify_broadcast();

-- Who watches sees by itself what expires, but has to ask in time.
create trigger broadcast_ended after delete on broadcasts for each row
  when (old.expires_at > now() - interval '10 s')
  execute function notify_broadcast();

create function notify_client() returns trigger language plpgsql security definer set search_path from current as $$
begin
  if exists (select from broadcasts where client_id = old.id) then
    perform pg_notify('broadcasts', old.email);
    if tg_op = 'UPDATE' then
      perform pg_notify('broadcasts', new.email);
    end if;
  end if;
  if tg_op = 'DELETE' or new.fingerprint <> old.fingerprint then
    perform pg_notify('certificates', old.fingerprint);
  end if;
  return old;
end $$;

create trigger client_changed after update on clients for each row
  when (old.email <> new.email or old.fingerprint <> new.fingerprint)
  execute function notify_client();

-- Before, for afterwards its broadcast is gone too.
create trigger client_removed before delete on clients for each row execute function notify_client();
