import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { GenericContainer, Wait } from 'testcontainers'
import { connect, type Sql } from '../../src/postgres/postgres-driver.ts'
import { blocksOf } from './docs.ts'
import { stopper } from './postgres-servers.ts'

export const ROLES = ['relay_api', 'relay_cleanup', 'relay_mailer', 'relay_admin']

const FILE = 'postgres/roles.sh'

/** What an administrator runs in the database relay, apart from passwords. */
const [, SETUP = ''] = readFileSync(FILE, 'utf8').match(/^\\connect relay\n(.*?)^\\set/ms) ?? []

/**
 * Makes the roles that the processes log in as, and makes their owner the database's, as postgres/roles.sh does before the migrations give
 * them their rights. The tests' databases share one server, and so the roles.
 *
 * @param url of the test's own database
 * @returns the database's URL for a role
 */
export async function createRoles(sql: Sql, url: string) {
  const server = connect(String(process.env.TEST_DATABASE_URL), { max: 1, statementTimeout: 0 })
  // One test at a time, since roles belong to the server.
  await server.begin(async (transaction) => {
    await transaction`select pg_advisory_xact_lock(1)`
    await sql.unsafe(SETUP)
    for (const role of ['relay_owner', ...ROLES]) await sql.unsafe(`alter role ${role} password 'secret'`)
  })
  await server.end()
  return (role: string) => Object.assign(new URL(url), { username: role, password: 'secret' }).href
}

const SERVER = `
  initdb --no-sync --pgdata=/data/main --username=postgres --auth=trust
  echo 'host all all all trust' >> /data/main/pg_hba.conf
  exec postgres -D /data/main -c listen_addresses=* -c unix_socket_directories=/tmp -c fsync=off -c max_connections=50`

/** A PostgreSQL of the test's own that asks for no passwords. */
export async function startOwnPostgres(t: Test, image = 'postgres:18') {
  const container = await new GenericContainer(image)
    .withUser('postgres')
    .withTmpFs({ '/data': '' })
    .withEntrypoint(['bash', '-e', '-c', SERVER])
    .withWorkingDir('/tmp')
    .withExposedPorts(5432)
    .withCopyFilesToContainer([
      { source: FILE, target: `/tmp/${FILE}` },
      { source: 'postgres/passwords.sh', target: '/tmp/postgres/passwords.sh' }
    ])
    .withWaitStrategy(
      Wait.forAll([Wait.forLogMessage('database system is ready to accept connections'), Wait.forListeningPorts()])
    )
    .start()
  const stop = stopper(t, container)
  const url = (role: string, database = 'relay') =>
    `postgres://${role}@${container.getHost()}:${container.getMappedPort(5432)}/${database}`
  /** Runs what an operator would type. */
  async function shell(script: string, env: Record<string, string> = {}) {
    const { exitCode, output } = await container.exec(['bash', '-e', '-c', script], { env })
    if (exitCode !== 0) throw new Error(output)
    return output
  }
  return {
    container,
    stop,
    url,
    shell,
    /** Makes the database and the roles as docs/DEPLOYMENT.md says. */
    async createRoles(administrator = 'postgres') {
      const [block] = blocksOf('docs/DEPLOYMENT.md', "The database's roles")
      const script = block?.text
        .replace('db.example.com', '127.0.0.1')
        .replace('postgres PASS', `${administrator} PASS`)
      await shell(`rm -rf passwords\n${script}`)
    }
  }
}
