import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { getContainerRuntimeClient, Wait } from 'testcontainers'
import { startEmbeddedPostgres } from '../src/postgres/embedded-postgres.ts'

/**
 * `npm test [-- FILE...]`: starts one real PostgreSQL for the whole run, from testcontainers or, on a machine without a
 * container engine, the embedded one, and runs tap with its URL in TEST_DATABASE_URL. Every test makes its own database.
 */
const engine = await getContainerRuntimeClient().then(
  () => true,
  () => false
)
if (!engine && process.env.CI) throw new Error('CI needs a container engine: nothing is skipped there')

const { url, stop } = await (engine ? startContainer() : startEmbedded())
const environment = { ...process.env, TEST_DATABASE_URL: url, TEST_CONTAINERS: engine ? 'yes' : '' }
const tap = spawn('tap', process.argv.slice(2), { stdio: 'inherit', env: environment })
process.on('SIGINT', () => {}) // tap gets it too, and ends
const [code] = await once(tap, 'exit')
await stop()
process.exitCode = code ?? 1
if (!engine)
  console.log('No container engine: PostgreSQL was the embedded one; the tests that need containers were skipped.')

async function startContainer() {
  const container = await new PostgreSqlContainer('postgres:18')
    .withCommand(['postgres', '-c', 'max_connections=300', '-c', 'fsync=off', '-c', 'max_wal_size=256MB'])
    .withTmpFs({ '/var/lib/postgresql': '' }) // a slow disk is not what is tested
    // The default asks four times a second for as long as the container runs, and where a probe that timed out breaks off,
    // PostgreSQL, as process 1, takes it for one of its own that crashed, and recovers. It says itself when it is up: the
    // first time is the image's initialisation.
    .withHealthCheck({ test: ['CMD', 'true'], interval: 3_600_000 })
    .withWaitStrategy(
      Wait.forAll([Wait.forLogMessage('database system is ready to accept connections', 2), Wait.forListeningPorts()])
    )
    .start()
  return { url: container.getConnectionUri(), stop: () => container.stop() }
}

async function startEmbedded() {
  const dir = mkdtempSync(join(tmpdir(), 'relay-tracker-test-'))
  const { url, stop } = await startEmbeddedPostgres(dir, { ...console, info() {} })
  return {
    url,
    async stop() {
      await stop()
      rmSync(dir, { recursive: true })
    }
  }
}
