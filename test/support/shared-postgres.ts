import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { getContainerRuntimeClient, Wait } from 'testcontainers'
import { startEmbeddedPostgres } from '../../src/postgres/embedded-postgres.ts'

/**
 * Starts the PostgreSQL that all tests of a run share: from testcontainers or, on a machine without a container engine, the embedded one.
 *
 * @throws in CI when there is no container engine, for nothing is skipped there
 */
export async function startSharedPostgres() {
  const engine = await getContainerRuntimeClient().then(
    () => true,
    () => false
  )
  if (!engine && process.env.CI) throw new Error('CI needs a container engine: nothing is skipped there')
  return { engine, ...(await (engine ? startContainer() : startEmbedded())) }
}

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
