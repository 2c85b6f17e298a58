import { runAdmin } from '../admin/admin-command.ts'
import { run } from '../runtime/main-function.ts'

/** `npm run admin`. Help must be quick, so a verb's modules are loaded only when it runs. */
await run(async () => {
  process.exitCode = await runAdmin(process.argv.slice(2), process)
})
