import { migrate } from '../src/postgres/migrations.ts'
import { openClient } from '../src/postgres/postgres-client.ts'
import { loadConfig } from '../src/runtime/config.ts'
import { run } from '../src/runtime/main-function.ts'

/** `npm run database`: creates the database that DATABASE_URL names, unless it exists, and its schema. */
await run(async () => {
  const { DATABASE_URL } = await loadConfig()
  // With several hosts, it is not a URL for `new URL`.
  const [, server, path, rest] = DATABASE_URL.match(/^(\w+:\/\/[^/?]*)([^?]*)(.*)$/s) as [
    string,
    string,
    string,
    string
  ]
  const name = decodeURIComponent(path.slice(1))
  const { sql } = openClient(`${server}/postgres${rest}`, { max: 1, statementTimeout: 0 })
  try {
    // A second process waits here for the first, and then finds its database.
    await sql`select pg_advisory_lock(hashtext(${`relay-tracker: create ${name}`}))`
    const [existing] = await sql`select from pg_database where datname = ${name}`
    if (!existing) await sql`create database ${sql(name)}`
  } finally {
    await sql.end()
  }
  await migrate(DATABASE_URL)
  console.log(`the database ${name} is ready`)
})
