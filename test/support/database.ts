import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect, type Sql } from '../../src/postgres/postgres-driver.ts'
import { eventually } from './eventually.ts'
import './teardown.ts'

const { TEST_DATABASE_URL, TEST_DATABASE_TEMPLATE } = process.env
if (!TEST_DATABASE_URL) throw new Error('run the tests with npm test: it starts the PostgreSQL that they need')
const RIGHTS = readFileSync('sql/rights.sql', 'utf8')

/**
 * A new, migrated database of the test's own on the run's PostgreSQL: its URL, and a connection to look into it. Connections to the
 * `patient` URL wait for locks without limit, since the machine may be slow.
 */
export async function createDatabase(t: Test, { empty = false } = {}) {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const url = new URL(TEST_DATABASE_URL as string)
  url.pathname = `/${name}`
  const unhurried = { statementTimeout: 0, connect_timeout: 30 }
  const server = connect(TEST_DATABASE_URL as string, { max: 1, ...unhurried })
  const template = empty ? undefined : TEST_DATABASE_TEMPLATE
  await server`create database ${server(name)} template ${server(template ?? 'template1')}`
  const sql = connect(url.href, { max: 2, ...unhurried })
  // A copy has the tables of its template, but not the settings.
  if (template) await sql.unsafe(RIGHTS)
  else if (!empty) await migrate(url.href)
  t.teardown(async () => {
    await sql.end()
    await server`drop database ${server(name)} with (force)`
    await server.end()
  })
  return { url: url.href, patient: `${url.href}?lock_timeout=0&statement_timeout=0`, sql }
}

/** Resolves when so many queries to a test's database wait for a lock. */
export async function lockedOut(sql: Sql, queries = 1) {
  await eventually(
    () => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    ({ count }) => count >= queries
  )
}
