#!/bin/sh
# The database relay, the role that owns it and applies the migrations, and those that the other processes log in as.
# Runs when the data is first made; run it again after a change of passwords:
# docker compose exec postgres sh /docker-entrypoint-initdb.d/roles.sh
psql --username postgres --set ON_ERROR_STOP=1 --quiet \
  --set owner="$(cat /run/secrets/owner/password)" \
  --set api="$(cat /run/secrets/api/password)" \
  --set cleanup="$(cat /run/secrets/cleanup/password)" \
  --set mailer="$(cat /run/secrets/mailer/password)" \
  --set admin="$(cat /run/secrets/admin/password)" <<'SQL'
select format('create role %I', name)
  from unnest(array['relay_owner', 'relay_api', 'relay_cleanup', 'relay_mailer', 'relay_admin']) name
  where not exists (select from pg_roles where rolname = name) \gexec
alter role relay_owner login password :'owner';
alter role relay_api login password :'api';
alter role relay_cleanup login password :'cleanup';
alter role relay_mailer login password :'mailer';
alter role relay_admin login password :'admin';

select 'create database relay owner relay_owner' where not exists (select from pg_database where datname = 'relay') \gexec
revoke all on database relay from public;
grant connect on database relay to relay_api, relay_cleanup, relay_mailer, relay_admin;
SQL
