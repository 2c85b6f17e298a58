import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect, type Sql } from '../../src/postgres/postgres-driver.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { start } from '../support/process.ts'
import { ROLES, startOwnPostgres } from '../support/roles.ts'

type Server = Awaited<ReturnType<typeof startOwnPostgres>>

/** Everything that anybody but superusers and owners may do in and with the database, and everything that acts by itself. */
const ALLOWED = `
database relay: relay_admin CONNECT
database relay: relay_api CONNECT
database relay: relay_cleanup CONNECT
database relay: relay_mailer CONNECT
database template0: public CONNECT, but it takes no connections
role relay_admin: at most 4 connections
role relay_api: at most 20 connections
role relay_cleanup: at most 6 connections
role relay_mailer: at most 12 connections
role relay_owner: at most -1 connections
schema public: public USAGE
schema public: relay_owner CREATE
settings of everybody in relay: idle_in_transaction_session_timeout=10min tcp_user_timeout=1min
table broadcasts: relay_admin DELETE SELECT
table broadcasts: relay_api DELETE INSERT SELECT
table clients: relay_admin DELETE SELECT
table clients: relay_api DELETE SELECT
table mail_counts: relay_api INSERT SELECT UPDATE
table pending_certificates: relay_api DELETE INSERT SELECT UPDATE
table pending_registrations: relay_admin DELETE
table pending_registrations: relay_api DELETE INSERT SELECT
table schema_migrations: relay_admin SELECT
column broadcasts: relay_api UPDATE addresses capabilities expires_at last_announced_at last_heartbeat observed_address port
column broadcasts: relay_cleanup SELECT id
column broadcasts: relay_mailer SELECT id
column clients: relay_admin INSERT certificate common_name created_at email email_verified_at id not_after not_before proven_at revocation_reason revoked_at rotations
column clients: relay_admin UPDATE revocation_reason revoked_at
column clients: relay_api INSERT certificate common_name email email_verified_at id not_after not_before proven_at
column clients: relay_api UPDATE certificate common_name created_at email email_verified_at not_after not_before proven_at rotations
column pending_certificates: relay_admin SELECT client_id fingerprint not_after not_before
column pending_registrations: relay_admin SELECT expires_at fingerprint id
column pending_registrations: relay_api UPDATE expires_at mail_due_at mail_tries proven_at token_hash
column pending_registrations: relay_mailer SELECT email expires_at fingerprint id mail_due_at mail_tries token_hash
column pending_registrations: relay_mailer UPDATE mail_due_at mail_tries token_hash
function certificate_state: public EXECUTE
function claim_certificate: as its caller, search_path=pg_catalog, pg_temp
function claim_certificate: public EXECUTE
function confirm_registration: as its caller, search_path=pg_catalog, pg_temp
function confirm_registration: public EXECUTE
function delete_expired_broadcasts: as the owner, search_path=pg_catalog, pg_temp
function delete_expired_broadcasts: relay_cleanup EXECUTE
function delete_expired_registrations: as the owner, search_path=pg_catalog, pg_temp
function delete_expired_registrations: relay_cleanup EXECUTE
function delete_mail_counts: as the owner, search_path=pg_catalog, pg_temp
function delete_mail_counts: relay_cleanup EXECUTE
function drop_rotations: as its caller, search_path=pg_catalog, pg_temp
function drop_signature: as its caller, search_path=pg_catalog, pg_temp
function notify_broadcast: as its caller, search_path=pg_catalog, pg_temp
function notify_client: as its caller, search_path=pg_catalog, pg_temp
function sync_last_heartbeat: as its caller, search_path=pg_catalog, pg_temp
function take_over_certificate: as its caller, search_path=pg_catalog, pg_temp
function take_over_certificate: public EXECUTE
owner of everything: relay_owner
trigger broadcast_began on broadcasts: notify_broadcast
trigger broadcast_changed on broadcasts: notify_broadcast
trigger broadcast_ended on broadcasts: notify_broadcast
trigger client_changed on clients: notify_client
trigger client_removed on clients: notify_client
trigger last_heartbeat_synced on broadcasts: sync_last_heartbeat
trigger rotations_dropped on clients: drop_rotations
trigger signature_dropped on pending_certificates: drop_signature
`
  .trim()
  .split('\n')
  .sort()

/** What only a superuser can change. */
const OF_SUPERUSER = `
function lo_creat(integer): relay_owner EXECUTE
function lo_create(oid): relay_owner EXECUTE
function lo_from_bytea(oid,bytea): relay_owner EXECUTE
function pg_logical_emit_message(boolean,text,bytea): relay_owner EXECUTE
function pg_logical_emit_message(boolean,text,text): relay_owner EXECUTE
member of pg_read_all_stats: relay_admin
member of pg_read_all_stats: relay_owner
settings of relay_admin: auto_explain.log_min_duration=-1 log_error_verbosity=terse log_parameter_max_length=0 log_parameter_max_length_on_error=0 temp_file_limit=256MB
settings of relay_api: auto_explain.log_min_duration=-1 lock_timeout=600ms log_error_verbosity=terse log_parameter_max_length=0 log_parameter_max_length_on_error=0 statement_timeout=2s temp_file_limit=256MB
settings of relay_cleanup: auto_explain.log_min_duration=-1 lock_timeout=600ms log_error_verbosity=terse log_parameter_max_length=0 log_parameter_max_length_on_error=0 statement_timeout=2s temp_file_limit=256MB
settings of relay_mailer: auto_explain.log_min_duration=-1 lock_timeout=600ms log_error_verbosity=terse log_parameter_max_length=0 log_parameter_max_length_on_error=0 statement_timeout=2s temp_file_limit=256MB
settings of relay_owner: auto_explain.log_min_duration=-1 log_error_verbosity=terse log_parameter_max_length=0 log_parameter_max_length_on_error=0
`
  .trim()
  .split('\n')

const WITH_SUPERUSER = [...ALLOWED, ...OF_SUPERUSER].sort()

/** What remains without a superuser, as with managed PostgreSQL. */
const MANAGED = `
database postgres: public CONNECT
database postgres: public TEMPORARY
database template1: public CONNECT
member of relay_owner: administrator
role administrator: at most -1 connections
function lo_creat(integer): public EXECUTE
function lo_create(oid): public EXECUTE
function lo_from_bytea(oid,bytea): public EXECUTE
function pg_logical_emit_message(boolean,text,bytea): public EXECUTE
function pg_logical_emit_message(boolean,text,text): public EXECUTE
settings of relay_admin: log_parameter_max_length_on_error=0
settings of relay_api: lock_timeout=600ms log_parameter_max_length_on_error=0 statement_timeout=2s
settings of relay_cleanup: lock_timeout=600ms log_parameter_max_length_on_error=0 statement_timeout=2s
settings of relay_mailer: lock_timeout=600ms log_parameter_max_length_on_error=0 statement_timeout=2s
settings of relay_owner: log_parameter_max_length_on_error=0
`
  .trim()
  .split('\n')
  .sort()

for (const version of [15, 17, 18]) {
  t.test(`PostgreSQL ${version}`, { skip: skipWithoutContainers }, async (t) => {
    const server = await startOwnPostgres(t, `postgres:${version}`)
    const superuser = connect(server.url('postgres', 'postgres'), { max: 1, statementTimeout: 0 })
    await superuser`create role administrator login createdb createrole`
    await superuser.end()

    await server.createRoles('administrator')
    await migrate(server.url('relay_owner'))
    await t.test('managed PostgreSQL has the expected roles and rights', async (t) => {
      t.strictSame(await walk(server), [...ALLOWED, ...MANAGED].sort())
    })

    await t.test(
      'a superuser’s PostgreSQL has the expected roles and rights, even in an upgraded database',
      async (t) => {
        const sql = connect(server.url('postgres'), { max: 1 })
        await sql`grant all on schema public to public`
        await sql`revoke relay_owner from administrator cascade`
        await sql`drop owned by administrator`
        await sql`drop role administrator`
        await sql`grant all on database relay to public`
        await sql`grant update on broadcasts to relay_cleanup`
        await sql.end()
        await server.createRoles()
        await migrate(server.url('relay_owner'))
        t.strictSame(await walk(server), WITH_SUPERUSER)
      }
    )

    await t.test('no role may do more than its process needs', async (t) => {
      for (const role of ROLES) await refused(t, server, role)
      t.strictSame(await walk(server), WITH_SUPERUSER, 'statements that only warn change nothing either')
    })

    await t.test('a role’s changes to itself are undone', async (t) => {
      for (const role of [...ROLES, 'relay_owner']) {
        const sql = connect(server.url(role), { max: 1 })
        await sql.unsafe(`alter role ${role} reset all`)
        await sql.unsafe(`alter role ${role} set search_path = nowhere`)
        await sql.unsafe(`alter role ${role} in database relay set default_transaction_read_only = on`)
        await sql.end()
      }
      t.notSame(await walk(server), WITH_SUPERUSER)
      await server.createRoles()
      t.strictSame(await walk(server), WITH_SUPERUSER)
    })

    await t.test('no query fills the disk with temporary files', async (t) => {
      for (const role of ROLES) {
        const sql = connect(server.url(role), { max: 1, statementTimeout: 0 })
        await t.rejects(
          sql`select count(*) from generate_series(1, 30000000)`,
          { code: '53400', message: /temp_file_limit/ },
          role
        )
        await sql.end()
      }
    })

    await t.test('no name that the owner uses can be given another meaning', async (t) => {
      const sql = connect(server.url('postgres'), { max: 1 })
      t.teardown(() => sql.end())
      for (const path of ['pg_temp, public', 'public, pg_catalog, pg_temp']) {
        await sql`grant temporary on database relay to relay_api, relay_cleanup`
        await sql`grant create on schema public to relay_api`
        t.strictSame(await traps(server, path), [])
        // The former version, whose owner looked up what its caller had put there.
        const [old] =
          readFileSync('sql/006.do.notifications.sql', 'utf8').match(/create function notify_b.*?end \$\$;/s) ?? []
        const [now] = await sql`select pg_get_functiondef('notify_broadcast'::regproc) as definition`
        await sql.unsafe(
          `set search_path = public; ${String(old).replace('create', 'create or replace')}; reset search_path`
        )
        t.match(await traps(server, path), ['trap: relay_api as relay_owner'], 'the traps would catch somebody')
        await sql.unsafe(now?.definition)
        await sql`drop owned by relay_api, relay_cleanup`
        await migrate(server.url('relay_owner'))
        await server.createRoles()
      }
      t.strictSame(await walk(server), WITH_SUPERUSER)
    })

    await t.test('no lock that others can take blocks a migration or cleanup', async (t) => {
      for (const role of ROLES) {
        const sql = connect(server.url(role), { max: 1 })
        await sql`select pg_advisory_lock(7352900), pg_advisory_lock(7352901)`
        t.same(await migrate(server.url('relay_owner')), [])
        const cleanup = start(t, 'src/processes/cleanup.ts', {
          args: ['--once'],
          env: { DATABASE_URL: server.url('relay_cleanup') }
        })
        t.match(await cleanup.ended, { code: 0, output: /expired broadcasts deleted/ })
        await sql.end()
      }
    })

    await t.test('a role that takes all its connections leaves enough for the others', async (t) => {
      const taken: Sql[] = []
      for (const role of ROLES) {
        const count = await exhaust(server, role, taken)
        t.ok(ALLOWED.includes(`role ${role}: at most ${count} connections`), `${role}: ${count}`)
      }
      t.equal(await exhaust(server, 'relay_owner', taken), 50 - 3 - 20 - 6 - 12 - 4)
      await taken.pop()?.end()
      await migrate(server.url('relay_owner'))
      t.equal(await exhaust(server, 'postgres', taken), 3 + 1)
      await Promise.all(taken.map((sql) => sql.end()))
    })
  })
}

t.test('a schema may have another name', async (t) => {
  const { url, sql } = await createDatabase(t, { empty: true })
  await sql`create schema "My schema"`
  const other = `${url}?search_path=${encodeURIComponent('"My schema"')}`
  await migrate(other)
  t.same(await migrate(other), [])
  const connection = connect(other, { max: 1 })
  await connection`insert into clients (email, certificate, not_before, not_after)
    values ('alice@example.com', 'a', now(), now() + interval '1 day')`
  await connection`insert into broadcasts (client_id, port, addresses, expires_at, last_announced_at)
    select id, 1, '{10.0.0.1}', now() - interval '1 s', now() - interval '2 s' from clients`
  t.same(await connection`select delete_expired_broadcasts(10) as deleted`, [{ deleted: 1 }])
  t.same(await connection`select claim_certificate('bob@example.com', fingerprint) = id as "isClaimed" from clients`, [
    { isClaimed: true }
  ])
  t.same(await connection`select from take_over_certificate('none')`, [])
  t.same(await connection`select from confirm_registration('none')`, [])
  await connection`delete from clients`
  await connection.end()
})

/** What the database allows, in the form of ALLOWED. */
async function walk({ url }: Server): Promise<string[]> {
  const sql = connect(url('postgres'), { max: 1 })
  const rows = await sql<{ line: string }[]>`
    with names as (
      select oid, rolname::text as name from pg_roles union select 0, 'public'
    ), home as (
      select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    ), grants (what, owner, acl) as (
      select 'database ' || datname, datdba, coalesce(datacl, acldefault('d', datdba)) from pg_database where datallowconn
      union all
      select 'schema ' || nspname, nspowner, nspacl from pg_namespace join home using (oid)
      union all
      select 'function ' || proname, proowner, coalesce(proacl, acldefault('f', proowner))
      from pg_proc where pronamespace in (select oid from home)
      union all
      select 'type ' || typname, typowner, typacl from pg_type where typnamespace in (select oid from home)
      union all
      select 'default privileges in ' || defaclnamespace, 0, defaclacl from pg_default_acl
      union all
      select 'language ' || lanname, lanowner, lanacl from pg_language where lanname <> 'plpgsql'
      union all
      select 'foreign data wrapper ' || fdwname, fdwowner, fdwacl from pg_foreign_data_wrapper
      union all
      select 'foreign server ' || srvname, srvowner, srvacl from pg_foreign_server
      union all
      select 'setting ' || parname, 0, paracl from pg_parameter_acl
      union all
      select 'tablespace ' || spcname, spcowner, spcacl from pg_tablespace
      union all
      select 'large object ' || oid, lomowner, lomacl from pg_largeobject_metadata
    ), lines (line) as (
      select format('%s: %s %s', what, name, privilege_type)
      from grants, aclexplode(acl) join names on oid = grantee where grantee <> owner
      union all
      select format('%s %s: %s %s', case relkind when 'r' then 'table' else 'relation ' || relkind::text end, relname, name,
        string_agg(privilege_type, ' ' order by privilege_type))
      from pg_class, aclexplode(relacl) join names on oid = grantee
      where relnamespace in (select oid from home) and grantee <> relowner group by relkind, relname, name
      union all
      select format('column %s: %s %s %s', relname, name, privilege_type, string_agg(attname, ' ' order by attname))
      from pg_class join pg_attribute on attrelid = pg_class.oid, aclexplode(attacl) join names on names.oid = grantee
      where relnamespace in (select oid from home) and grantee <> relowner group by relname, name, privilege_type
      union all
      select format('%s %s', case relkind when 'S' then 'sequence' when 'f' then 'foreign table' else 'view' end, relname)
      from pg_class where relnamespace in (select oid from home) and relkind not in ('r', 'i')
      union all
      select format('function %s: as %s, %s', proname, case when prosecdef then 'the owner' else 'its caller' end,
        coalesce(array_to_string(proconfig, ' '), 'without search_path'))
      from pg_proc join pg_language on pg_language.oid = prolang
      where pronamespace in (select oid from home) and (prosecdef or proconfig is not null or lanname <> 'sql')
      union all
      select format('operator %s', oprname) from pg_operator where oprnamespace in (select oid from home)
      union all
      select format('trigger %s on %s: %s', tgname, tgrelid::regclass, proname)
      from pg_trigger join pg_proc on pg_proc.oid = tgfoid where not tgisinternal
      union all
      select format('rule %s', rulename) from pg_rewrite where ev_class in (select oid from pg_class where relnamespace in (select oid from home))
      union all
      select format('policy %s', polname) from pg_policy
      union all
      select format('event trigger %s', evtname) from pg_event_trigger
      union all
      select format('extension %s', extname) from pg_extension where extname <> 'plpgsql'
      union all
      select format('publication %s', pubname) from pg_publication
      union all
      select 'owner of everything: ' || string_agg(distinct name, ' ')
      from (
        select relowner as oid from pg_class where relnamespace in (select oid from home)
        union select proowner from pg_proc where pronamespace in (select oid from home)
        union select datdba from pg_database where datname = current_database()
      ) owners join names using (oid)
      union all
      select format('role %s: at most %s connections%s', rolname, rolconnlimit, case
        when rolsuper or rolreplication or rolbypassrls or (rolcreaterole or rolcreatedb) and rolname <> 'administrator'
        then ', and much more' else '' end)
      from pg_roles where rolcanlogin and rolname <> 'postgres'
      union all
      select format('settings of %s%s: %s', coalesce(rolname, 'everybody'), ' in ' || datname, (
        select string_agg(setting, ' ' order by setting collate "C") from unnest(setconfig) setting
      ))
      from pg_db_role_setting
        left join pg_roles on pg_roles.oid = setrole left join pg_database on pg_database.oid = setdatabase
      union all
      -- In PostgreSQL 16 and later, whoever creates a role may grant it.
      select distinct format('member of %s: %s', roleid::regrole, member::regrole) from pg_auth_members
      where member::regrole::text !~ '^pg_' and not (roleid <> 'relay_owner'::regrole and member::regrole::text = 'administrator')
      union all
      -- One of them has an argument more in PostgreSQL 17 and later.
      select format('function %s: %s EXECUTE', regexp_replace(pg_proc.oid::regprocedure::text, ',boolean\\)$', ')'), name)
      from pg_proc left join pg_init_privs on (classoid, objoid, objsubid) = ('pg_proc'::regclass, pg_proc.oid, 0),
        aclexplode(coalesce(proacl, acldefault('f', proowner))) join names on names.oid = grantee
      where pronamespace = 'pg_catalog'::regnamespace and grantee <> proowner
        and (proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message') or proacl is distinct from initprivs)
      union all
      select 'database template0: public CONNECT, but it takes no connections' from pg_database where datname = 'template0' and not datallowconn
    )
    select line from lines`
  await sql.end()
  return rows.map(({ line }) => line).sort()
}

/** What a role must not be able to do. */
async function refused(t: Test, { url }: Server, role: string) {
  const sql = connect(url(role), { max: 1 })
  const callable = role === 'relay_cleanup' ? [] : ['select delete_expired_broadcasts(1)']
  for (const statement of [
    'create temporary table clients ()',
    'create temporary view clients as select',
    'create function pg_temp.lower(text) returns text return $1',
    'create function public.lower(text) returns text return $1',
    'create operator public.= (function = texteq, leftarg = text, rightarg = text)',
    'create schema mine',
    'create extension pg_stat_statements',
    'create table mine ()',
    'create view mine as select 1',
    'create publication mine',
    'create event trigger mine on ddl_command_end execute function notify_client()',
    'create trigger mine before insert on clients for each row execute function notify_client()',
    'create rule mine as on delete to clients do instead nothing',
    'create policy mine on clients',
    'create tablespace mine location $$/tmp$$',
    'create role mine',
    'create database mine',
    'alter table clients disable trigger all',
    'alter table clients add mine integer',
    'alter table cleanup_lock add mine integer',
    'alter function notify_client() security definer',
    'create or replace function notify_client() returns trigger language sql as $$ $$',
    'alter database relay connection limit 0',
    'alter schema public rename to mine',
    'alter system set log_statement = none',
    `alter role ${role} superuser`,
    `alter role ${role} createrole`,
    `alter role ${role} connection limit 1000`,
    'alter role relay_owner password $$mine$$',
    `grant relay_owner to ${role}`,
    `grant pg_read_server_files to ${role}`,
    'set role relay_owner',
    'set session authorization relay_owner',
    `alter role ${role} set temp_file_limit = -1`,
    `alter role ${role} reset temp_file_limit`,
    'set temp_file_limit = -1',
    'set log_error_verbosity = default',
    'set session_replication_role = replica',
    'set session_preload_libraries = mine',
    'load $$/tmp/mine.so$$',
    'truncate clients',
    'select rolpassword from pg_authid',
    'select from pg_statistic',
    'select pg_read_file($$/etc/passwd$$)',
    'select pg_read_binary_file($$postgresql.conf$$)',
    'select pg_ls_dir($$.$$)',
    'select pg_stat_file($$.$$)',
    'copy broadcasts (id) to program $$id$$',
    'copy (select 1) to $$/tmp/mine$$',
    'select lo_import($$/etc/passwd$$)',
    'select lo_export(1, $$/tmp/mine$$)',
    'select lo_create(0)',
    'select lo_creat(-1)',
    'select lo_from_bytea(0, $$x$$)',
    'select pg_logical_emit_message(false, $$x$$, $$x$$)',
    'select pg_logical_emit_message(true, $$x$$, $$x$$::bytea)',
    'select pg_reload_conf()',
    'select pg_rotate_logfile()',
    'select pg_switch_wal()',
    'select pg_create_restore_point($$mine$$)',
    'select pg_create_physical_replication_slot($$mine$$)',
    'select pg_terminate_backend(pid) from pg_stat_activity where usename = $$relay_owner$$',
    'begin; lock table cleanup_lock in access share mode',
    ...callable
  ]) {
    const owner = connect(url('relay_owner'), { max: 1 })
    if (statement.includes('pg_terminate_backend')) await owner`select 1`
    // Each gets a new connection, because some leave theirs unusable.
    const attempt = statement.startsWith('begin') ? connect(url(role), { max: 1 }) : sql
    const error = await attempt.unsafe(statement).then(
      () => undefined,
      (error) => error
    )
    t.equal(error?.code, '42501', `${role}: ${statement}: ${error?.message}`)
    if (attempt !== sql) await attempt.end({ timeout: 0 })
    await owner.end()
  }
  await sql.end()
}

/**
 * Sets traps wherever a role could if it had temporary tables and functions of its own, and runs everything that has the owner's rights; returns
 * who was caught.
 */
async function traps({ url }: Server, path: string): Promise<string[]> {
  const caught: string[] = []
  const options = { max: 1, onnotice: ({ message }: { message?: string }) => caught.push(String(message)) }
  const setUp = async (role: string) => {
    const sql = connect(`${url(role)}?client_min_messages=notice`, options as object)
    await sql.unsafe(`set search_path = ${path}`)
    await sql.unsafe(`
      create function pg_temp.trap() returns text language plpgsql as $$ begin
        if current_user <> session_user then raise notice 'trap: % as %', session_user, current_user; end if;
        return 'x';
      end $$;
      create temporary view clients as select null::uuid as id, pg_temp.trap() as email union all
        select gen_random_uuid(), pg_temp.trap();
      create temporary view broadcasts as select null::uuid as client_id, pg_temp.trap() as port, now() as expires_at;
      create temporary view pending_registrations as select pg_temp.trap() as email, now() as expires_at;
      create temporary view mail_counts as select pg_temp.trap() as subject, now() as began_at;
      create temporary view cleanup_lock as select pg_temp.trap();
      create temporary view pg_class as select pg_temp.trap();
      grant select on pg_temp.clients, pg_temp.broadcasts, pg_temp.pending_registrations, pg_temp.mail_counts to public`)
    return sql
  }

  const api = await setUp('relay_api')
  await api.unsafe(`
    drop operator if exists public.= (uuid, uuid);
    create or replace function public.pg_notify(text, name) returns void language plpgsql as $$ begin perform pg_temp.trap(); end $$;
    create or replace function public.trapped(uuid, uuid) returns boolean language plpgsql as $$ begin perform pg_temp.trap(); return true; end $$;
    create operator public.= (function = public.trapped, leftarg = uuid, rightarg = uuid);
    delete from public.clients;
    insert into public.clients (email, certificate, not_before, not_after)
      select n || '@example.com', n::text::bytea, now(), now() + interval '1 day' from generate_series(1, 3) n;
    insert into public.broadcasts (client_id, port, addresses, expires_at, last_announced_at)
      select id, 1, '{10.0.0.1}', now() + case when email ~ '^3' then '-1 s' else '1 h' end::interval, now() - interval '1 h'
      from public.clients;
    update public.broadcasts set port = 2;
    update public.clients set email = 'new-' || email;
    delete from public.broadcasts where client_id = (select id from public.clients where email ~ '^new-1');
    delete from public.clients where email ~ '-2'`)
  const cleanup = await setUp('relay_cleanup')
  await cleanup`select public.delete_expired_broadcasts(10), public.delete_expired_registrations(10), public.delete_mail_counts(10)`
  await api`delete from public.clients`
  await Promise.all([api.end(), cleanup.end()])
  return caught.filter((message) => message.startsWith('trap'))
}

/** Opens as many connections as a role can; returns how many. */
async function exhaust({ url }: Server, role: string, taken: Sql[]): Promise<number> {
  for (let count = 0; ; count++) {
    const sql = connect(url(role), { max: 1, max_lifetime: null })
    const code = await sql`select 1`.then(
      () => undefined,
      (error) => error.code
    )
    if (code) {
      await sql.end({ timeout: 0 })
      if (code !== '53300') throw new Error(`${role}: ${code}`)
      return count
    }
    taken.push(sql)
  }
}
