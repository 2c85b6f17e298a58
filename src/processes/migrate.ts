import { migrate } from '../postgres/migrations.ts'
import { loadConfig } from '../runtime/config.ts'
import { run } from '../runtime/main-function.ts'
import { VERSION } from '../runtime/version.ts'

/** `npm run migrate` */
await run(async () => {
  const { DATABASE_URL } = await loadConfig()
  const applied = await migrate(DATABASE_URL)
  const done = applied.length > 0 ? `applied ${applied.join(', ')}` : 'the schema is up to date'
  console.log(`relay-tracker ${VERSION}: ${done}`)
})
