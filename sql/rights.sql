-- What the API, the worker, the mailer and the admin command may do: granted in full after every migration, to the roles that
-- postgres/roles.sh makes. Without these roles, all processes share the role that owns the tables.
do $$
declare
  role text;
  is_owner boolean := pg_has_role(datdba, 'usage') from pg_database where datname = current_database();
begin
  for role in select rolname from pg_roles where rolname in ('relay_api', 'relay_cleanup', 'relay_mailer', 'relay_admin') loop
    execute format('revoke all on all tables in schema public from %I', role);
    if is_owner then
      -- By default, everybody may connect and make temporary tables.
      execute format('revoke all on database %I from public, %I', current_database(), role);
      execute format('grant connect on database %I to %I', current_database(), role);
    end if;
  end loop;
  if is_owner then
    -- A session that listens, and then neither ends its transaction nor reads, blocks the queue of notifications. When that is full,
    -- after days, no change that notifies watchers can be committed.
    execute format('alter database %I set idle_in_transaction_session_timeout = %L', current_database(), '10min');
    execute format('alter database %I set tcp_user_timeout = %L', current_database(), '1min');
  end if;
  if exists (select from pg_roles where rolname = 'relay_api') then
    -- The API must not revoke or restore, so its rights omit those columns.
    grant select, delete,
      insert (id, email, certificate, common_name, not_before, not_after, proven_at, email_verified_at),
      update (email, certificate, common_name, not_before, not_after, created_at, proven_at, email_verified_at, rotations)
      on clients to relay_api;
    grant select, insert, delete, update on pending_certificates to relay_api;
    grant select, insert, delete, update (proven_at, expires_at, mail_due_at, mail_tries, token_hash) on pending_registrations
      to relay_api;
    grant select, insert, update on mail_counts to relay_api;
    grant select, insert, delete,
      update (port, addresses, observed_address, capabilities, expires_at, last_announced_at, last_heartbeat)
      on broadcasts to relay_api;
  end if;
  if exists (select from pg_roles where rolname = 'relay_cleanup') then
    -- Deletes only what has expired.
    grant execute on function delete_expired_broadcasts(integer), delete_expired_registrations(integer), delete_mail_counts(integer)
      to relay_cleanup;
    grant select (id) on broadcasts to relay_cleanup; -- for /readyz
  end if;
  if exists (select from pg_roles where rolname = 'relay_mailer') then
    grant select (id, email, fingerprint, expires_at, mail_due_at, mail_tries, token_hash),
      update (token_hash, mail_tries, mail_due_at) on pending_registrations to relay_mailer;
    grant select (id) on broadcasts to relay_mailer; -- for /readyz
  end if;
  if exists (select from pg_roles where rolname = 'relay_admin') then
    grant select, delete, update (revoked_at, revocation_reason),
      insert (id, email, certificate, common_name, not_before, not_after, created_at, proven_at, email_verified_at, revoked_at,
        revocation_reason, rotations)
      on clients to relay_admin;
    grant select, delete on broadcasts to relay_admin;
    grant select (client_id, fingerprint, not_before, not_after) on pending_certificates to relay_admin;
    grant select (id, fingerprint, expires_at), delete on pending_registrations to relay_admin;
    grant select on schema_migrations to relay_admin;
  end if;
end $$;
