import { json, type Sql } from '../database.ts'

/** Something that a role has to be allowed, or must not be. */
export interface Right {
  role: string
  table: string
  privilege: 'select' | 'insert' | 'update' | 'delete'
  /** All of them when it is left out. */
  column?: string
}

/** What is asked of a database to find out whether all is well. */
export function createDiagnosis(sql: Sql) {
  return {
    /** Which server it is, as PostgreSQL numbers versions (180001), and as whom we are there. */
    async server() {
      const [server] = await sql<[{ version: number; user: string; isReadOnly: boolean }]>`
        select current_setting('server_version_num')::integer as version, current_user as user,
          pg_is_in_recovery() as "isReadOnly"`
      return server
    },

    /** Milliseconds since 1970 by the database's clock. */
    async clock(): Promise<number> {
      const [{ now }] = await sql<[{ now: number }]>`select extract(epoch from clock_timestamp())::float8 * 1000 as now`
      return now
    },

    /** The migrations that were applied; undefined when there never was any. */
    async migrations(): Promise<{ version: number; md5: string }[] | undefined> {
      const [{ exists }] = await sql<
        [{ exists: boolean }]
      >`select to_regclass('schema_migrations') is not null as exists`
      if (!exists) return undefined
      return sql<{ version: number; md5: string }[]>`
        select version::integer, md5 from schema_migrations where version > 0 order by version`
    },

    /** Those of these roles that there are. */
    async roles(names: string[]): Promise<string[]> {
      const rows = await sql<{ rolname: string }[]>`
        select rolname from pg_roles
        where rolname in (select json_array_elements_text(${json(sql, names)})) order by rolname`
      return rows.map(({ rolname }) => rolname)
    },

    /** Which of these rights are given, in their order. */
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

    /** Of the clients that are not revoked, how many there are, and how many expired or will within so many days. */
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
