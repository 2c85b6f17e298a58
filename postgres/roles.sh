#!/bin/sh
# Creates what takes an administrator: the database relay, the role that owns it and applies the migrations, and the roles of the other
# processes, with their passwords and limits. The migrations give these their rights (sql/rights.sql). Run it again after changing passwords,
# max_connections or this file.
#
# PGHOST, PGUSER and so on say where and as whom to connect: as a superuser, or as a role that may create roles and databases.
# PASSWORDS is the folder with owner/password, api/password and so on (postgres/passwords.sh).
: "${PGUSER:=postgres}" "${PGDATABASE:=postgres}" "${PASSWORDS:=/run/secrets}"
export PGUSER PGDATABASE PASSWORDS
for role in owner api cleanup mailer admin; do
  [ -s "$PASSWORDS/$role/password" ] || { echo "there is no $PASSWORDS/$role/password" >&2; exit 1; }
done

psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet <<'SQL'
select 'create database relay' where not exists (select from pg_database where datname = 'relay') \gexec
\connect relay

-- The API may use all of the server's connections except 30: 22 are for the other roles, 5 for the owner, and PostgreSQL reserves 3 for
-- superusers. An API needs at most 11, a mailer 5, a worker and the admin command 2 each.
do $$
declare
  most integer := greatest(current_setting('max_connections')::integer - 30, 11);
  role text;
  connections integer;
begin
  for role, connections in
    values ('relay_owner', -1), ('relay_api', most), ('relay_cleanup', 6), ('relay_mailer', 12), ('relay_admin', 4)
  loop
    if not exists (select from pg_roles where rolname = role) then
      execute format('create role %I', role);
    end if;
    if not exists (select from pg_roles where rolname = role and rolcanlogin and rolconnlimit = connections) then
      execute format('alter role %I login connection limit %s', role, connections);
    end if;
  end loop;
end $$;

-- A role may change its own settings, even for this database alone, so they are reset here. The timeouts are for processes that cannot set
-- their own, as over PgBouncer. The others, except temp_file_limit, keep the values of failed statements out of PostgreSQL's log: the row, the
-- parameters, and the conditions in plans. All but three take a superuser; with managed PostgreSQL, the server's settings can do the same
-- (docs/DEPLOYMENT.md).
do $$
declare
  role text;
  setting text;
begin
  foreach role in array array['relay_owner', 'relay_api', 'relay_cleanup', 'relay_mailer', 'relay_admin'] loop
    execute format('alter role %I reset all', role);
    execute format('alter role %I in database %I reset all', role, current_database());
    foreach setting in array array[
      'log_error_verbosity = terse', 'log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0', 'auto_explain.log_min_duration = -1'
    ]
      -- Not for the owner, which creates indexes.
      || case when role <> 'relay_owner' then array['temp_file_limit = ''256MB'''] end
      || case when role not in ('relay_owner', 'relay_admin') then array['statement_timeout = ''2s''', 'lock_timeout = ''600ms'''] end
    loop
      begin
        execute format('alter role %I set %s', role, setting);
      exception when insufficient_privilege then
        null;
      end;
    end loop;
  end loop;
end $$;

-- The owner gets the database. With managed PostgreSQL the administrator is no superuser, and has to be a member of the owner to do that.
do $$ begin
  if not pg_has_role('relay_owner', 'usage') then
    execute format('grant relay_owner to %I', current_user);
  end if;
  if not exists (select from pg_database where datname = current_database() and datdba = 'relay_owner'::regrole) then
    execute format('alter database %I owner to relay_owner', current_database());
  end if;
end $$;
-- Before PostgreSQL 15 everybody could create tables, and in an upgraded database everybody still can.
revoke create on schema public from public;
grant create on schema public to relay_owner;

-- Only a superuser can take from everybody: large objects and messages in the write-ahead log, with which any role could fill the disk; and, unless
-- others share the server, the other databases. If nobody shares it, migrations and doctor may also see how long others' transactions last.
do $$
declare
  refused regprocedure;
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    for refused in
      select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace
        and proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')
    loop
      execute format('revoke execute on function %s from public', refused);
      -- The owner restores dumps, which contain the same revocation.
      execute format('grant execute on function %s to relay_owner', refused);
    end loop;
    if not exists (select from pg_database where datname not in ('postgres', 'template0', 'template1', current_database())) then
      revoke all on database postgres, template1 from public;
      grant pg_read_all_stats to relay_owner, relay_admin;
    end if;
  end if;
end $$;

\set owner `cat "$PASSWORDS/owner/password"`
\set api `cat "$PASSWORDS/api/password"`
\set cleanup `cat "$PASSWORDS/cleanup/password"`
\set mailer `cat "$PASSWORDS/mailer/password"`
\set admin `cat "$PASSWORDS/admin/password"`
alter role relay_owner password :'owner';
alter role relay_api password :'api';
alter role relay_cleanup password :'cleanup';
alter role relay_mailer password :'mailer';
alter role relay_admin password :'admin';
SQL
