import { existsSync } from 'node:fs'
import { runAdmin } from '../admin/admin-command.ts'

/** `npm run admin`. Help is quick, so nothing that only verbs need is imported here. */
if (existsSync('.env')) process.loadEnvFile()
process.exitCode = await runAdmin(process.argv.slice(2), process)
