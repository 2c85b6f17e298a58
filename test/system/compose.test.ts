import https from 'node:https'
import t from 'tap'
import { freePort } from '../../src/runtime/listen-port.ts'
import { ANNOUNCEMENT } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { debianImage } from '../support/debian-image.ts'
import { blocksOf } from '../support/docs.ts'
import { hostOfContainers } from '../support/edge.ts'
import { eventually, untilIncludes } from '../support/eventually.ts'
import { send, untilStatus } from '../support/http-client.ts'
import { startLoad } from '../support/load.ts'
import { linkIn, startMailServer } from '../support/mail.ts'
import { createPeer, registerPeer } from '../support/peers.ts'
import { dashboardQueries } from '../support/prometheus.ts'
import { startStack } from '../support/stack.ts'
import { testTwoApis } from '../support/two-apis.ts'

t.test('docker compose up starts a whole service', { skip: skipWithoutContainers }, async (t) => {
  const settings: Record<string, string> = { BROADCAST_TTL_SECONDS: '6', CLEANUP_SCHEDULE: '*/2 * * * * *' }
  const stack = await startStack(t, settings)
  const { origin, relay, docker, compose, containerIds, inspect, up } = stack
  const withPrometheus = (...args: string[]) => {
    const files = ['--file', 'docker-compose.yml', '--file', 'test/debian/prometheus.yml']
    return compose('--profile', 'observability', ...files, ...args)
  }

  t.test('a peer registers, announces, is found, expires, and is cleaned up', async (t) => {
    const alice = await registerPeer(relay, 'alice')
    const bob = await createPeer('bob', { keyType: 'rsa-2048' })
    t.match(await relay.register(bob), { status: 200 })
    t.match(await relay.ready(alice), { status: 200, body: { expires_in: 6 } })
    t.match(await relay.lookup(bob, alice.email), {
      status: 200,
      body: { ...ANNOUNCEMENT, fingerprint: alice.fingerprint }
    })
    t.match(await relay.list(bob), { status: 200, body: [{ email: alice.email }] })
    t.match(await relay.list(undefined), { status: 401 })
    await untilStatus(404, () => relay.lookup(bob, alice.email))
    await untilIncludes(() => compose('logs', 'cleanup'), '"deleted":1,"msg":"expired broadcasts deleted"')
  })

  t.test("clients can verify the server's certificate", async (t) => {
    const ca = await compose('exec', '-T', 'nginx', 'cat', '/etc/nginx/tls/ca.crt')
    const agent = new https.Agent({ ca })
    t.match(await send(`${origin}/`, { agent, rejectUnauthorized: true } as object), { status: 404 })
  })

  t.test('all services are healthy, the migration succeeded, and one port is published', async (t) => {
    const containers = await inspect(...(await containerIds()))
    // biome-ignore lint/suspicious/noExplicitAny: what docker inspect prints
    const by = (read: (container: any) => unknown) =>
      Object.fromEntries(containers.map((one) => [one.Config.Labels['com.docker.compose.service'], read(one)]))
    const running = ['postgres', 'api', 'cleanup', 'mailer', 'nginx']
    const all = ['passwords', 'migrate', ...running]
    const each = (names: string[], value: unknown) => Object.fromEntries(names.map((name) => [name, value]))
    t.same(
      by(({ State }) => State.Health?.Status ?? State.ExitCode),
      { ...each(all, 0), ...each(running, 'healthy') }
    )
    t.same(
      by(({ HostConfig }) => Object.keys(HostConfig.PortBindings)),
      { ...each(all, []), nginx: ['443/tcp'] }
    )
    t.match(
      by(({ Config }) => Config.User),
      { api: 'node', cleanup: 'node', mailer: 'node', migrate: 'node' }
    )
    t.same(
      by(({ HostConfig }) => [HostConfig.ReadonlyRootfs, HostConfig.CapDrop, HostConfig.SecurityOpt].flat()),
      each(all, [true, 'ALL', 'no-new-privileges:true']),
      'none can write its root file system or gain rights'
    )
  })

  t.test('nginx drops the connections that it gave up', async (t) => {
    const [nginx] = await inspect(...(await containerIds('nginx')))
    t.same(nginx.HostConfig.Sysctls, { 'net.ipv4.tcp_orphan_retries': '2' })
  })

  t.test('the image has labels that say what it is', async (t) => {
    const [image] = await inspect('relay-tracker')
    t.match(image.Config.Labels, {
      'org.opencontainers.image.title': 'Relay Tracker',
      'org.opencontainers.image.licenses': 'MIT',
      'org.opencontainers.image.version': 'unreleased'
    })
  })

  t.test('each process knows one password, and may do what it needs and no more', async (t) => {
    const query = async (service: string, role: string, text: string) => {
      const code = `import postgres from 'postgres'
        const password = (await import('node:fs')).readFileSync('/run/secrets/${role}/password', 'utf8').trim()
        const sql = postgres('postgres://relay_${role}@postgres/relay', { password })
        await sql.unsafe("${text}").then(() => console.log('allowed'), ({ message }) => console.log(message))
        await sql.end()`
      return (await compose('exec', '-T', service, 'node', '--input-type=module', '--eval', code)).trim()
    }
    await compose('exec', '-T', 'postgres', 'sh', '/docker-entrypoint-initdb.d/roles.sh')
    t.equal(await query('api', 'api', 'select from clients'), 'allowed', 'also when the roles were set once more')
    t.match(await query('api', 'api', 'truncate clients'), 'permission denied for table clients')
    t.match(await query('api', 'api', 'create table mine ()'), 'permission denied for schema public')
    t.equal(await query('cleanup', 'cleanup', 'select delete_expired_broadcasts(1)'), 'allowed')
    t.match(
      await query('cleanup', 'cleanup', 'delete from broadcasts where false'),
      'permission denied for table broadcasts'
    )
    t.match(await query('cleanup', 'cleanup', 'select from clients'), 'permission denied for table clients')
    t.equal(await query('mailer', 'mailer', 'select email from pending_registrations'), 'allowed')
    t.match(await query('mailer', 'mailer', 'select certificate from pending_registrations'), 'permission denied')
    t.match(await query('api', 'api', 'update clients set revoked_at = null'), 'permission denied for table clients')
    for (const service of ['api', 'cleanup', 'mailer']) {
      t.equal(await compose('exec', '-T', service, 'ls', '/run/secrets'), `${service}\n`)
      t.notMatch(await compose('exec', '-T', service, 'env'), 'PASSWORD=')
    }
  })

  t.test('the admin command revokes a client, and its doctor finds no problem', async (t) => {
    const admin = (...args: string[]) => compose('run', '--rm', '-T', 'admin', ...args)
    const grace = await registerPeer(relay, 'grace')
    t.match(await relay.ready(grace), { status: 200 })
    t.equal(await admin('clients', 'revoke', grace.email, '--reason', 'a test'), 'grace@example.com is revoked\n')
    t.match(await relay.ready(grace), { status: 401, body: { code: 'certificate_revoked' } })
    t.equal(await admin('clients', 'restore', grace.email), 'grace@example.com is restored\n')
    t.match(await relay.ready(grace), { status: 200 })
    const found = await admin('doctor', '--edge', 'https://nginx', '--server-name', 'localhost')
    t.match(found, /^ok +edge headers +a forged certificate is not passed on$/m)
    t.notMatch(found, /^problem/m)
  })

  t.test('while the database is down peers get 503, and service returns by itself', async (t) => {
    const carol = await registerPeer(relay, 'carol')
    await compose('stop', 'postgres')
    for (let round = 0; round < 3; round++) {
      t.match(await relay.list(carol), {
        status: 503,
        headers: { 'retry-after': '2' },
        body: { code: 'service_unavailable' }
      })
    }
    await compose('start', 'postgres')
    await untilStatus(200, () => relay.list(carol))
  })

  testTwoApis(t, stack)

  t.test('a stack that was taken down and up again has lost nothing', async (t) => {
    const dora = await registerPeer(relay, 'dora')
    await compose('down')
    await up()
    t.match(await relay.register(dora), { status: 409, body: { code: 'already_registered' } })
    t.match(await relay.ready(dora), { status: 200 })
  })

  t.test('new passwords made as docs/DEPLOYMENT.md says replace the old ones', async (t) => {
    const [, passwords] = blocksOf('docs/DEPLOYMENT.md', 'Compose')
    const hanna = await registerPeer(relay, 'hanna')
    const password = () => compose('exec', '-T', 'api', 'cat', '/run/secrets/api/password')
    const old = await password()
    await stack.shell(passwords?.text ?? '', t.testdir({}))
    await up()
    t.not(await password(), old)
    t.match(await relay.ready(hanna), { status: 200 })
  })

  t.test('an upgrade done as docs/UPGRADE.md says fails no call', async (t) => {
    const [, beside] = blocksOf('docs/UPGRADE.md', 'Compose')
    const [old] = await containerIds('api')
    const load = await startLoad(origin, { peers: 4, rest: 100, registrations: false, repeats: true })
    t.teardown(load.stop)
    await stack.shell(beside?.text ?? '', t.testdir({}))
    await load.stop()
    t.ok(load.outcomes.length > 0)
    t.same(
      load.outcomes.filter(({ status }) => status !== 200),
      []
    )
    const now = await containerIds('api')
    t.equal(now.length, 1)
    t.not(now[0], old)
  })

  t.test('Prometheus and Grafana publish their ports on this machine only', async (t) => {
    await debianImage()
    settings.PROMETHEUS_PORT = String(await freePort('127.0.0.1'))
    await withPrometheus('up', '--detach', '--no-build', 'prometheus')
    const [container] = await inspect((await withPrometheus('ps', '--quiet', 'prometheus')).trim())
    t.same(container.HostConfig.PortBindings, {
      '9090/tcp': [{ HostIp: '127.0.0.1', HostPort: settings.PROMETHEUS_PORT }]
    })
    t.same(
      [container.HostConfig.ReadonlyRootfs, container.HostConfig.CapDrop, container.HostConfig.SecurityOpt].flat(),
      [true, 'ALL', 'no-new-privileges:true']
    )
    const { services } = JSON.parse(await compose('--profile', 'observability', 'config', '--format', 'json'))
    const published = { mode: 'ingress', protocol: 'tcp', host_ip: '127.0.0.1', published: '3000', target: 3000 }
    t.same(services.grafana.ports, [published], 'Grafana too')
  })

  t.test('with SMTP_URL, peers have to confirm their e-mail addresses', async (t) => {
    const { host, name } = await hostOfContainers()
    const server = await startMailServer(t, { host })
    const SMTP_URL = `smtp://${name}:${server.port}?requireTLS=false`
    Object.assign(settings, server.env, { SMTP_URL })
    await up()
    const frank = await createPeer('frank')
    t.match(await relay.register(frank), { status: 200, body: { email_verification: 'pending' } })
    t.match(await relay.ready(frank), { status: 403, body: { code: 'email_unverified' } })
    const link = linkIn(await server.next())
    t.match(await send(origin + link), { status: 200, headers: { 'content-type': /html/ } })
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const [path, body] = link.split('?') as [string, string]
    t.match(await send(origin + path, { body, headers: form }), { status: 200 })
    t.match(await relay.ready(frank), { status: 200 })
    for (const id of await containerIds()) t.notMatch(await stack.logs(id), body, 'no token is in any log')
  })

  t.test('Prometheus scrapes every process, loads the rules, and answers every panel of the dashboard', async (t) => {
    const ask = async (path: string) =>
      (await send(`http://127.0.0.1:${settings.PROMETHEUS_PORT}/api/v1/${path}`)).body.data
    const { activeTargets } = await eventually(
      () => ask('targets'),
      ({ activeTargets }) => activeTargets.filter(({ health }: { health: string }) => health === 'up').length === 3
    )
    t.same(activeTargets.map(({ labels }: { labels: { job: string } }) => labels.job).sort(), [
      'relay-api',
      'relay-cleanup',
      'relay-mailer'
    ])
    const { groups } = await ask('rules')
    t.match(groups, [{ name: 'relay-tracker' }])
    t.same(
      groups[0].rules.filter(({ health }: { health: string }) => health === 'err'),
      []
    )
    for (const { panel, query } of dashboardQueries()) {
      const found = await eventually(
        () => ask(`query?query=${encodeURIComponent(query)}`),
        ({ result }) => result.length > 0,
        60
      )
      t.ok(found.result.length > 0, panel)
    }
    await withPrometheus('rm', '--stop', '--force', 'prometheus')
  })

  t.test('every process exits by itself within the grace period', async (t) => {
    await compose('stop')
    const format = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.ExitCode}}'
    const states = await docker('inspect', '--format', format, ...(await containerIds()))
    t.same(
      states.trim().split('\n').sort(),
      ['api', 'cleanup', 'mailer', 'migrate', 'nginx', 'passwords', 'postgres'].map((name) => `${name} 0`)
    )
  })
})
