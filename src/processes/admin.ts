import { runAdmin } from '../admin/admin-command.ts'
import { run } from '../runtime/main-function.ts'

/** `npm run admin`. Help has to be quick, so nothing that only verbs need is imported here. */
await run(async () => {
  process.exitCode = await runAdmin(process.argv.slice(2), process)
})
