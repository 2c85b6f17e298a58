import type { Test } from 'tap'
import { Network, Wait } from 'testcontainers'
import { migrate } from '../src/migrate.ts'
import { debianImage } from './debian-image.ts'

/** Of the superuser. */
const PASSWORD = 'test'

/** PostgreSQL 15 and PgBouncer, Debian's packages, each in a container of its own on a network of the test's own. */
export async function startDebian(t: Test) {
  const network = await new Network().start()
  t.teardown(() => network.stop())

  async function run(alias: string, port: number, ready: string, script: string[]) {
    const image = await debianImage()
    const container = await image
      .withUser('postgres')
      .withNetwork(network)
      .withNetworkAliases(alias)
      .withEntrypoint(['sh', '-c', ['set -e', ...script].join('\n')])
      .withExposedPorts(port)
      .withWaitStrategy(Wait.forLogMessage(ready))
      .start()
    let isStopped = false
    const stop = async () => {
      if (!isStopped) await container.stop({ timeout: 0 })
      isStopped = true
    }
    t.teardown(stop)
    return { container, stop, host: `${container.getHost()}:${container.getMappedPort(port)}` }
  }

  const postgres = `exec postgres -D /tmp/data -c listen_addresses=* -c unix_socket_directories=/tmp -c fsync=off \
    -c wal_retrieve_retry_interval=200ms`
  const primary = await run('primary', 5432, 'ready to accept connections', [
    `echo ${PASSWORD} > /tmp/password`,
    'initdb --pgdata=/tmp/data --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 --locale=C.UTF-8',
    'echo "host all,replication all all scram-sha-256" >> /tmp/data/pg_hba.conf',
    postgres
  ])
  /** Of the database at these hosts. */
  const urlOf = (...hosts: string[]) => `postgres://postgres:${PASSWORD}@${hosts.join()}/postgres`
  await migrate(urlOf(primary.host))

  return {
    primary,
    urlOf,
    /** Follows the primary. */
    startStandby: () =>
      run('standby', 5432, 'ready to accept read-only connections', [
        `pg_basebackup --dbname=${urlOf('primary')} --pgdata=/tmp/data --write-recovery-conf --checkpoint=fast`,
        postgres
      ]),
    /** In transaction mode. */
    startPgBouncer: (settings: string[]) =>
      run('pgbouncer', 6432, 'process up', [
        `cat > /tmp/pgbouncer.ini <<'END'`,
        ...settings,
        'END',
        `echo '"postgres" "${PASSWORD}"' > /tmp/users`,
        'exec pgbouncer /tmp/pgbouncer.ini'
      ])
  }
}
