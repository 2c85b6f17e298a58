import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { skipWithoutContainers } from '../support/containers.ts'
import { succeeds } from '../support/docker.ts'
import { eventually } from '../support/eventually.ts'

/** Seconds for anything that Docker does. */
const PATIENCE = 300
const { entrypoint = ['docker-entrypoint.sh'], command = ['postgres'] } = parse(
  readFileSync('docker-compose.yml', 'utf8')
).services.postgres

/** Conditions in the shell of PostgreSQL's container, in the order in which they come true. */
const MOMENTS = {
  'initdb has begun': 'find /var/lib/postgresql -name PG_VERSION | grep -q .',
  'initdb has written its configuration': 'find /var/lib/postgresql -name pg_hba.conf | grep -q .',
  'the server of the first start runs': 'pg_isready --quiet',
  'the roles are being made': `psql -U postgres -tAc "select 'made' from pg_roles where rolname = 'relay_owner'" 2>&1 | grep -qx made`,
  'the database has its place': 'test -s "$PGDATA/PG_VERSION"'
}

async function docker(...args: string[]) {
  const { PATH, HOME } = process.env
  return (await promisify(execFile)('docker', args, { env: { PATH, HOME }, timeout: PATIENCE * 1000 })).stdout
}

/** docker-compose.yml with the test's own volumes and networks. */
function ownProject(t: Test, suffix: string | number) {
  const project = `relay-tracker-first-start-${process.pid}-${suffix}`
  const compose = (...args: string[]) => docker('compose', '--project-name', project, ...args)
  t.teardown(() => compose('down', '--volumes', '--remove-orphans', '--timeout', '0'))
  return { project, compose }
}

t.test('a first start that is cut off can be repeated', { skip: skipWithoutContainers, jobs: 5 }, async (t) => {
  await docker('compose', 'build', 'migrate')
  for (const [index, [moment, condition]] of Object.entries(MOMENTS).entries()) {
    t.test(`it is killed when ${moment}`, async (t) => {
      const { compose } = ownProject(t, index)
      // Kills all processes but Docker's init, which ends with its child.
      const script = `(until ${condition}; do sleep 0.01; done; kill -KILL -1) & exec "$0" "$@"`
      const run = ['run', '--rm', '-T', '--entrypoint', 'sh', 'postgres', '-c', script, ...entrypoint, ...command]
      await t.rejects(compose(...run), { code: 137 }, 'it was killed')
      await t.resolves(compose('run', '--rm', '-T', 'migrate'), 'the next start is a whole one')
    })
  }
})

t.test('a volume that has a database already is left as it is', { skip: skipWithoutContainers }, async (t) => {
  const { project, compose } = ownProject(t, 'before')
  await compose('create', 'postgres')
  const container = `${project}-before`
  const settings = [`--volume=${project}_postgres:/var/lib/postgresql`, '--env=POSTGRES_PASSWORD=x']
  await docker('run', '--detach', '--rm', `--name=${container}`, ...settings, 'postgres:18')
  t.teardown(() => docker('rm', '--force', container))
  await eventually(() => succeeds(docker('exec', container, 'pg_isready', '--host', '127.0.0.1')), Boolean, PATIENCE)
  await docker('exec', container, 'psql', '-U', 'postgres', '-c', 'create table kept as select 42 as answer')
  await docker('kill', container)
  await docker('wait', container).catch(() => {}) // it is gone

  for (const end of ['kill', 'rm']) {
    await compose('up', '--detach', '--wait', 'postgres')
    const rows = await compose('exec', '-T', 'postgres', 'psql', '-U', 'postgres', '-tAc', 'select answer from kept')
    t.equal(rows, '42\n')
    await compose(end, ...(end === 'rm' ? ['--stop', '--force'] : []), 'postgres')
  }

  const file = '$PGDATA/PG_VERSION'
  const spoil = `mv ${file} ${file}.old && exec "$0" "$@"`
  const run = ['run', '--rm', '-T', '--entrypoint', 'sh', 'postgres', '-c', spoil, ...entrypoint, ...command]
  await t.rejects(compose(...run), 'what is no database, but not empty either, is not replaced')
  const mend = `mv ${file}.old ${file}; ls /var/lib/postgresql`
  await compose('run', '--rm', '-T', '--no-deps', '--entrypoint', 'sh', 'postgres', '-c', mend)
  await compose('up', '--detach', '--wait', 'postgres')
  t.equal(await compose('exec', '-T', 'postgres', 'psql', '-U', 'postgres', '-tAc', 'select answer from kept'), '42\n')
})
