import { describeSession } from '../postgres/lock-blockers.ts'
import { json, type Sql } from '../postgres/postgres-driver.ts'

/** Something that a role must or must not be allowed to do. */
export interface Right {
  role: string
  table: string
  privilege: 'select' | 'insert' | 'update' | 'delete'
  /** By default, all. */
  column?: string
}

/** A setting of a role's sessions, in PostgreSQL's form: `name=value`. */
export interface Setting {
  role: string
  setting: string
  /** Only a superuser can make it. */
  isOptional: boolean
}

/** Something that is allowed but should not be, or the other way round. */
interface Flaw {
  kind: string
  /** The roles, tables and so on that have it. */
  subjects: string
}

/** What `doctor` asks the database. */
export function createDiagnosis(sql: Sql) {
  return {
    /** The server's version, as PostgreSQL numbers it (180001), and our role. */
    async server() {
      const [server] = await sql<[{ version: number; user: string; isReadOnly: boolean }]>`
        select current_setting('server_version_num')::integer as version, current_user as user,
          pg_is_in_recovery() as "isReadOnly"`
      return server
    },

    /** The database's clock, in milliseconds since 1970. */
    async clock(): Promise<number> {
      const [{ now }] = await sql<[{ now: number }]>`select extract(epoch from clock_timestamp())::float8 * 1000 as now`
      return now
    },

    /** How full the notification queue is, from 0 to 1. */
    async notificationQueue(): Promise<number> {
      const [{ usage }] = await sql<[{ usage: number }]>`select pg_notification_queue_usage() as usage`
      return usage
    },

    /** Describes sessions with a longer transaction than this; those of other roles only if we may see them. */
    async longTransactions(seconds: number): Promise<string[]> {
      const rows = await sql<{ session: string }[]>`
        select ${describeSession(sql)} as session from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend'
          and xact_start < now() - make_interval(secs => ${seconds})
        order by xact_start`
      return rows.map(({ session }) => session)
    },

    /** The migrations that were applied, if any. */
    async migrations(): Promise<{ version: number; md5: string }[] | undefined> {
      const [{ exists }] = await sql<
        [{ exists: boolean }]
      >`select to_regclass('schema_migrations') is not null as exists`
      if (!exists) return undefined
      return sql<{ version: number; md5: string }[]>`
        select version::integer, md5 from schema_migrations where version > 0 order by version`
    },

    /** Which of these roles exist. */
    async roles(names: string[]): Promise<string[]> {
      const rows = await sql<{ rolname: string }[]>`
        select rolname from pg_roles
        where rolname in (select json_array_elements_text(${json(sql, names)})) order by rolname`
      return rows.map(({ rolname }) => rolname)
    },

    /** Whether each of these rights is granted. */
    async haveRights(rights: Right[]): Promise<boolean[]> {
      const rows = await sql<{ isGiven: boolean }[]>`
        select case
          when privilege = 'delete' then has_table_privilege(role, "table", privilege)
          when "column" is null then has_any_column_privilege(role, "table", privilege)
          else has_column_privilege(role, "table", "column", privilege)
        end as "isGiven"
        from rows from (
          json_to_recordset(${json(sql, rights)}) as (role text, "table" text, privilege text, "column" text)
        ) with ordinality rights (role, "table", privilege, "column", n)
        order by n`
      return rows.map(({ isGiven }) => isGiven)
    },

    /**
     * What these roles, or everybody, may do beyond what they need.
     *
     * @param settings what the roles must have, and nothing else
     */
    async flaws(roles: string[], needed: Right[], settings: Setting[]): Promise<Flaw[]> {
      return sql<Flaw[]>`
        with roles as (
          select * from pg_roles where rolname in (select json_array_elements_text(${json(sql, roles)}))
        ), needed as (
          select * from json_to_recordset(${json(sql, needed)}) as (role text, "table" text, privilege text)
        ), settings as (
          select * from json_to_recordset(${json(sql, settings)}) as (role text, setting text, "isOptional" boolean)
          where to_regrole(role) is not null
        ), set as (
          select rolname::text as role, setting
          from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) setting
          where rolname in (select role from settings)
            and setdatabase in (0, (select oid from pg_database where datname = current_database()))
        ), home as (
          select relnamespace as id, relowner as owner from pg_class where oid = 'clients'::regclass
        ), functions as (
          select pg_proc.*, proname::text as name from pg_proc, home where pronamespace = home.id and proowner = home.owner
        ), grants as (
          select grantee, relname::text as name, privilege_type
          from pg_class join home on relnamespace = home.id, aclexplode(relacl)
          union
          select grantee, relname, privilege_type
          from pg_class join home on relnamespace = home.id join pg_attribute on attrelid = pg_class.oid, aclexplode(attacl)
        ), flaws (kind, subject) as (
          select 'attributes', rolname::text from roles
          where rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
          union all
          select 'memberships', format('%s is a member of %s', rolname, roleid::regrole)
          from pg_auth_members join roles on roles.oid = member
          where (rolname, roleid) <> ('relay_admin', 'pg_read_all_stats'::regrole)
          union all
          select 'tables', format('%s may %s %s', coalesce(rolname, 'everybody'), lower(privilege_type), name)
          from grants left join roles on roles.oid = grantee
          where (grantee = 0 or rolname is not null) and not exists (
            select from needed where (role, "table", privilege) = (rolname, name, lower(privilege_type))
          )
          union all
          select 'functions', name from functions, aclexplode(coalesce(proacl, acldefault('f', proowner)))
          where prosecdef and grantee not in (proowner, coalesce(to_regrole('relay_cleanup')::oid, 0))
          union all
          select 'no functions', name from functions, roles
          where prosecdef and rolname = 'relay_cleanup' and not has_function_privilege(rolname, functions.oid, 'execute')
          union all
          select 'search paths', name from functions
          where (prosecdef or prorettype = 'trigger'::regtype)
            and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)
          union all
          select 'schema', rolname from roles, home where has_schema_privilege(rolname, home.id, 'create')
          union all
          select 'temporary tables', rolname from roles where has_database_privilege(rolname, current_database(), 'temporary')
          union all
          select 'database', datname from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
          where datname = current_database() and grantee = 0 and privilege_type = 'CONNECT' and exists (select from roles)
          union all
          select 'other databases', datname from pg_database
          where datallowconn and datname <> current_database()
            and exists (select from roles where has_database_privilege(rolname, pg_database.oid, 'connect'))
          union all
          select 'large objects', rolname from roles where has_function_privilege(rolname, 'lo_create(oid)', 'execute')
          union all
          select 'messages', rolname from roles, pg_proc
          where proname = 'pg_logical_emit_message' and has_function_privilege(rolname, pg_proc.oid, 'execute')
          union all
          select 'temporary files', rolname from roles
          where not exists (select from set where role = rolname and setting ~ '^temp_file_limit=') and not exists (
            select from pg_settings where name = 'temp_file_limit' and setting <> '-1' and source = 'configuration file'
          )
          union all
          -- Without the value, which could be anything, even control characters.
          select 'settings', format('%s of %s', split_part(setting, '=', 1), role)
          from set full join settings using (role, setting)
          where settings.setting is null or set.setting is null and not "isOptional"
          union all
          select 'logs', rolname from roles
          where not 'log_error_verbosity=terse' = any(coalesce(rolconfig, '{}')) and not exists (
            select from pg_settings where name = 'log_error_verbosity' and setting = 'terse' and source = 'configuration file'
          )
          union all
          select 'no limits', rolname from roles where rolconnlimit < 0
          union all
          select 'limits', format('%s of %s', taken, there)
          from (
            select sum(rolconnlimit) as taken, current_setting('max_connections')::integer
              - current_setting('superuser_reserved_connections')::integer as there
            from roles
          ) connections
          where taken >= there
        )
        select kind, string_agg(distinct subject, ', ' order by subject) as subjects from flaws group by kind order by kind`
    },

    /** The private address at which the most peers are online, if there are at least this many. */
    async sharedAddress(atLeast: number): Promise<{ address: string; peers: number } | undefined> {
      const [shared] = await sql<[{ address: string; peers: number }?]>`
        select host(observed_address) as address, count(*)::integer as peers from broadcasts
        where expires_at > now()
          and observed_address <<= any ('{10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7}'::inet[])
        group by observed_address having count(*) >= ${atLeast}
        order by peers desc limit 1`
      return shared
    },

    /** How many clients are not revoked, and how many of those have expired or will expire within this many days. */
    async certificates(days: number) {
      const [counts] = await sql<[{ clients: number; expired: number; expiring: number }]>`
        select count(*)::integer as clients,
          count(*) filter (where certificate_state(not_before, not_after) = 'expired')::integer as expired,
          count(*) filter (
            where certificate_state(not_before, not_after) <> 'expired' and not_after <= now() + make_interval(days => ${days})
          )::integer as expiring
        from clients where revoked_at is null`
      return counts
    }
  }
}
