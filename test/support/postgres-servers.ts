import type { Test } from 'tap'
import { GenericContainer, Network, type StartedTestContainer, Wait } from 'testcontainers'
import { migrate } from '../../src/postgres/migrations.ts'
import { debianImage } from './debian-image.ts'

/** Of the superuser. */
const PASSWORD = 'test'

/** Stops a container at once; the test does so at its end if nobody did before. */
export function stopper(t: Test, container: StartedTestContainer): () => Promise<void> {
  let isStopped = false
  const stop = async () => {
    if (!isStopped) await container.stop({ timeout: 0 })
    isStopped = true
  }
  t.teardown(stop)
  return stop
}

/** A primary of that image, and on demand a standby and PgBouncer, in containers on a network of the test's own. */
export async function startPrimary(t: Test, image = 'postgres:18') {
  const network = await new Network().start()
  t.teardown(() => network.stop())

  async function run(image: GenericContainer, alias: string, port: number, ready: string, script: string[]) {
    const container = await image
      .withUser('postgres')
      .withTmpFs({ '/data': '' })
      .withNetwork(network)
      .withNetworkAliases(alias)
      .withEntrypoint(['sh', '-c', ['set -e', ...script].join('\n')])
      .withExposedPorts(port)
      .withWaitStrategy(Wait.forLogMessage(ready))
      .start()
    return { container, stop: stopper(t, container), host: `${container.getHost()}:${container.getMappedPort(port)}` }
  }

  const postgres = `exec postgres -D /data/main -c listen_addresses=* -c unix_socket_directories=/tmp -c fsync=off \
    -c wal_retrieve_retry_interval=200ms`
  const primary = await run(new GenericContainer(image), 'primary', 5432, 'ready to accept connections', [
    `echo ${PASSWORD} > /tmp/password`,
    'initdb --no-sync --pgdata=/data/main --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 --locale=C.UTF-8',
    'echo "host all,replication all all scram-sha-256" >> /data/main/pg_hba.conf',
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
      run(new GenericContainer(image), 'standby', 5432, 'ready to accept read-only connections', [
        `pg_basebackup --dbname=${urlOf('primary')} --no-sync --pgdata=/data/main --write-recovery-conf --checkpoint=fast`,
        postgres
      ]),
    /** In transaction mode. */
    startPgBouncer: async (settings: string[]) =>
      run(await debianImage(), 'pgbouncer', 6432, 'process up', [
        `cat > /tmp/pgbouncer.ini <<'END'`,
        ...settings,
        'END',
        `echo '"postgres" "${PASSWORD}"' > /tmp/users`,
        'exec pgbouncer /tmp/pgbouncer.ini'
      ])
  }
}
