-- Heartbeats are between peers; the tracker knows announcements. The previous version still reads and writes `last_heartbeat`:
-- the next minor version drops that column, its trigger and its function. Until a peer announces again, the old column has the
-- time of this migration: to fill it in would keep all calls waiting for seconds.
alter table broadcasts rename column last_heartbeat to last_announced_at;
alter table broadcasts add column last_heartbeat timestamptz not null default now();

-- Whichever of the two columns a version writes, the other one follows.
create function sync_last_heartbeat() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.last_heartbeat <> old.last_heartbeat then
    new.last_announced_at := new.last_heartbeat;
  else
    new.last_heartbeat := new.last_announced_at;
  end if;
  return new;
end $$;

revoke execute on function sync_last_heartbeat() from public;

create trigger last_heartbeat_synced before update of last_announced_at, last_heartbeat on broadcasts
  for each row execute function sync_last_heartbeat();
