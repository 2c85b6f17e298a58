-- What the API and the worker may do, applied after the migrations each time, in full. They log in as these roles where an
-- administrator has made them; else they share the role that owns the tables.
do $$ begin
  if exists (select from pg_roles where rolname = 'relay_api') then
    revoke all on all tables in schema public from relay_api;
    grant select, insert, update (email, created_at, proven_at) on clients to relay_api;
    grant select, insert, update (port, addresses, capabilities, expires_at, last_heartbeat) on broadcasts to relay_api;
  end if;
  if exists (select from pg_roles where rolname = 'relay_cleanup') then
    revoke all on all tables in schema public from relay_cleanup;
    -- Without a right to update it could lock no rows.
    grant select, delete, update (expires_at) on broadcasts to relay_cleanup;
  end if;
end $$;
