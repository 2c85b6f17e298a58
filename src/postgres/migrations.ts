import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import Postgrator from 'postgrator'
import type { TransactionSql } from 'postgres'
import { watchBlockers } from './lock-blockers.ts'
import { openClient } from './postgres-client.ts'
import { isLockedOut } from './postgres-errors.ts'

const FOLDER = join(import.meta.dirname, '../../sql')
/** Seconds to wait for each lock: calls that need the same one wait behind this. */
const LOCK_TIMEOUT = 10

/**
 * Brings the database's schema, and the rights of the roles that use it, up to date with `sql/`: all or nothing, one caller at a time.
 *
 * @param folder where the migrations are
 * @returns the names of the files that were applied
 * @throws Error that says who held a lock for too long
 */
export async function migrate(databaseUrl: string, folder = FOLDER): Promise<string[]> {
  const { sql } = openClient(databaseUrl, { max: 2, statementTimeout: 0 })
  let blockers: ReturnType<typeof watchBlockers> | undefined

  async function apply(transaction: TransactionSql) {
    // A second caller waits here for the first. Unlike an advisory lock, this needs the right to create tables.
    await transaction.unsafe('create table migrating (); drop table migrating')
    await transaction.unsafe(`set local lock_timeout = '${LOCK_TIMEOUT}s'`)
    const [session] = await transaction`select pg_backend_pid() as pid`
    blockers = watchBlockers(sql, session?.pid)
    const postgrator = createPostgrator(folder, async (query) => ({ rows: await transaction.unsafe(query) }))
    const { length } = await postgrator.getMigrations()
    if (length === 0) throw new Error(`there are no migrations in ${folder}`)
    const applied = await postgrator.migrate()
    await transaction.unsafe(readFileSync(join(folder, 'rights.sql'), 'utf8'))
    return applied.map(({ filename }) => basename(filename))
  }

  try {
    return await sql.begin(apply).catch((error) => {
      throw blockers && isLockedOut(error) ? blockers.explain(error) : error
    })
  } finally {
    blockers?.stop()
    await sql.end()
  }
}

/** This version's migrations, with the MD5 that the database keeps of each that was applied. */
export async function readMigrations(): Promise<{ version: number; filename: string; md5: string }[]> {
  const migrations = await createPostgrator(FOLDER).getMigrations()
  return migrations.map(({ version, filename, md5 }) => ({ version, filename: basename(filename), md5: String(md5) }))
}

function createPostgrator(folder: string, execQuery?: (query: string) => Promise<{ rows: object[] }>) {
  return new Postgrator({
    driver: 'pg',
    schemaTable: 'schema_migrations',
    // The path of a checkout may contain characters that are special in a pattern.
    migrationPattern: `${folder.replaceAll(/[?*()[\]{}!+@|\\]/g, '\\$&')}/[0-9]*.sql`,
    ...(execQuery && { execQuery })
  })
}
