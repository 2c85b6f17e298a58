import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parse } from 'yaml'
import { makeTemplate, startSharedPostgres } from './support/shared-postgres.ts'

/**
 * `npm test [-- FILE...]`: starts one real PostgreSQL for the whole run, and runs tap with its URL in TEST_DATABASE_URL. Every test makes
 * its own database. `--system` stands for the files that .taprc excludes.
 */
const { engine, url, stop } = await startSharedPostgres()
const args = process.argv.slice(2).flatMap((arg) => (arg === '--system' ? systemTests() : arg))
const environment = {
  ...process.env,
  TEST_DATABASE_URL: url,
  TEST_DATABASE_TEMPLATE: await makeTemplate(url),
  TEST_CONTAINERS: engine ? 'yes' : '',
  // Half of a program's start is compiling, but coverage of cached code has no branches.
  ...(args.includes('--disable-coverage') && { NODE_COMPILE_CACHE: resolve('node_modules/.cache/node') })
}
// Only containers give a test several database hosts.
if (!engine) args.push('--allow-incomplete-coverage')
const tap = spawn('tap', args, { stdio: 'inherit', env: environment })
process.on('SIGINT', () => {}) // tap gets it too, and ends
const [code] = await once(tap, 'exit')
await stop()
process.exitCode = code ?? 1
if (!engine)
  console.log('No container engine: PostgreSQL was the embedded one; the tests that need containers were skipped.')

function systemTests(): string[] {
  return globSync(parse(readFileSync('.taprc', 'utf8')).exclude).sort()
}
