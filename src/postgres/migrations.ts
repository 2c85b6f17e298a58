import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import Postgrator from 'postgrator'
import { openConnections } from './connections.ts'

const FOLDER = join(import.meta.dirname, '../../sql')

/**
 * Brings the database's schema up to date with `sql/`, and the rights of the roles that use it: all of it in one
 * transaction or nothing, one caller at a time.
 *
 * @param folder where the migrations are
 * @returns the names of the files that were applied
 */
export async function migrate(databaseUrl: string, folder = FOLDER): Promise<string[]> {
  const { sql } = openConnections(databaseUrl, { max: 1, statementTimeout: 0 })
  try {
    return await sql.begin(async (transaction) => {
      // Whoever comes second waits here for the first one's end. Unlike an advisory lock, only who may make tables can take it.
      await transaction.unsafe('create table migrating (); drop table migrating')
      const postgrator = createPostgrator(folder, async (query) => ({ rows: await transaction.unsafe(query) }))
      const { length } = await postgrator.getMigrations()
      if (length === 0) throw new Error(`there are no migrations in ${folder}`)
      const applied = await postgrator.migrate()
      await transaction.unsafe(readFileSync(join(folder, 'rights.sql'), 'utf8'))
      return applied.map(({ filename }) => basename(filename))
    })
  } finally {
    await sql.end()
  }
}

/** The migrations that this version comes with, each with the MD5 that the database keeps of those it has. */
export async function readMigrations(): Promise<{ version: number; filename: string; md5: string }[]> {
  const migrations = await createPostgrator(FOLDER).getMigrations()
  return migrations.map(({ version, filename, md5 }) => ({ version, filename: basename(filename), md5: String(md5) }))
}

function createPostgrator(folder: string, execQuery?: (query: string) => Promise<{ rows: object[] }>) {
  return new Postgrator({
    driver: 'pg',
    schemaTable: 'schema_migrations',
    // A checkout's path may hold what a pattern is made of.
    migrationPattern: `${folder.replaceAll(/[?*()[\]{}!+@|\\]/g, '\\$&')}/[0-9]*.sql`,
    ...(execQuery && { execQuery })
  })
}
