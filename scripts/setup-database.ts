import { loadConfig } from '../src/config.ts'
import { connect } from '../src/database.ts'
import { migrate } from '../src/migrate.ts'
import { run } from '../src/process.ts'

/** `npm run database`: creates the database that DATABASE_URL names, if it is not there yet, and its schema. */
await run(async () => {
  const { DATABASE_URL } = await loadConfig()
  const maintenance = new URL(DATABASE_URL)
  const name = decodeURIComponent(maintenance.pathname.slice(1))
  maintenance.pathname = '/postgres'
  const sql = connect(maintenance.href, { max: 1, statementTimeout: 0 })
  try {
    const [existing] = await sql`select from pg_database where datname = ${name}`
    if (!existing) await sql`create database ${sql(name)}`
  } finally {
    await sql.end()
  }
  await migrate(DATABASE_URL)
  console.log(`the database ${name} is ready`)
})
