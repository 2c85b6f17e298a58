import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { getContainerRuntimeClient, Wait } from 'testcontainers'
import { startEmbeddedPostgres } from '../../src/postgres/embedded-postgres.ts'
import { migrate } from '../../src/postgres/migrations.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'

/**
 * Starts the PostgreSQL that all tests of a run share: in a container or, on a machine without a container engine, the embedded one.
 *
 * @throws in CI when there is no container engine, since nothing is skipped there
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
    // Thousands of connections log in: at 4096 rounds of SHA-256, that alone takes a minute.
    .withEnvironment({ POSTGRES_INITDB_ARGS: '-c scram_iterations=1' })
    .withTmpFs({ '/var/lib/postgresql': '' })
    // The default probes four times a second, and PostgreSQL, as process 1, takes a probe that is cut off for a crash of its own.
    // Its log tells when it is up: the first time is the image's initialisation.
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
  const sql = connect(url, { max: 1 })
  await sql`alter system set fsync = off`
  await sql`select pg_reload_conf()`
  await sql.end()
  return {
    url,
    async stop() {
      await stop()
      rmSync(dir, { recursive: true })
    }
  }
}

/** Migrates a database once, for the tests' databases to be copies of it: its name. */
export async function makeTemplate(url: string): Promise<string> {
  const name = 'migrated'
  const sql = connect(url, { max: 1, statementTimeout: 0 })
  await sql`create database ${sql(name)}`
  await sql.end()
  await migrate(Object.assign(new URL(url), { pathname: name }).href)
  return name
}
