import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'

interface Service {
  networks?: string[]
  network_mode?: string
  volumes?: string[]
  environment?: Record<string, string>
  command?: string[]
  cap_add?: string[]
  [setting: string]: unknown
}

const { services, networks, volumes } = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }) as {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean } | null>
  volumes: Record<string, null>
}
const names = (isSo: (service: Service) => boolean) =>
  Object.entries(services)
    .filter(([, service]) => isSo(service))
    .map(([name]) => name)
    .sort()

t.test('only nginx, the mailer and the dashboards can reach other networks', async (t) => {
  const hasWayOut = ({ networks: of = ['default'], network_mode }: Service) =>
    network_mode !== 'none' && of.some((name) => !networks[name]?.internal)
  t.same(names(hasWayOut), ['grafana', 'mailer', 'nginx', 'prometheus'])
  t.same(
    names(({ profiles }) => profiles !== undefined),
    ['admin', 'grafana', 'prometheus']
  )
  t.same(networks.database, { internal: true })
  t.same(services.postgres?.networks, ['database'])
})

t.test('each service mounts only the secrets that it needs', async (t) => {
  const mounted = (volume: string) => names(({ volumes: of = [] }) => of.some((one) => one.startsWith(`${volume}:`)))
  const secrets = Object.keys(volumes).filter((name) => name.endsWith('-password'))
  t.same(Object.fromEntries(secrets.map((name) => [name, mounted(name)])), {
    'postgres-password': ['passwords', 'postgres'],
    'owner-password': ['migrate', 'passwords', 'postgres'],
    'api-password': ['api', 'passwords', 'postgres'],
    'cleanup-password': ['cleanup', 'passwords', 'postgres'],
    'mailer-password': ['mailer', 'passwords', 'postgres'],
    'admin-password': ['admin', 'passwords', 'postgres']
  })
  t.same(
    names(({ volumes: of = [] }) => of.some((one) => one.includes('/run/smtp-password'))),
    ['mailer']
  )
  t.same(
    names(({ environment = {} }) => 'SMTP_PASSWORD_FILE' in environment),
    ['mailer']
  )
  for (const [name, { environment = {} }] of Object.entries(services)) {
    for (const [variable, value] of Object.entries(environment)) {
      if (/PASSWORD/.test(variable)) t.match(value, /^\/run\//, `${name}: ${variable} is a file`)
      t.notMatch(value, /:\/\/[^/@]*:[^/@]*@/, `${name}: ${variable} has no password`)
    }
  }
})

t.test('every service has limits, and nothing to gain rights by', async (t) => {
  for (const [name, service] of Object.entries(services)) {
    t.match(
      service,
      {
        read_only: true,
        init: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        pids_limit: Number,
        mem_limit: /^\d+[mg]$/
      },
      name
    )
    t.notOk(service.privileged ?? service.devices ?? service.pid ?? service.ipc, name)
    t.notOk(
      (service.volumes ?? []).some((one) => one.includes('docker.sock')),
      name
    )
  }
  t.same(
    names(({ cap_add }) => cap_add !== undefined),
    ['nginx', 'postgres']
  )
  t.same(
    names(({ ports }) => ports !== undefined),
    ['grafana', 'nginx', 'prometheus']
  )
})

t.test('Grafana and Prometheus answer no web page of another origin', async (t) => {
  t.match(services.grafana?.environment, {
    GF_SERVER_DOMAIN: 'localhost',
    GF_SERVER_ENFORCE_DOMAIN: 'true',
    GF_SERVER_ROOT_URL: /^http:\/\/localhost:/
  })
  t.ok(services.prometheus?.command?.includes('--web.cors.origin=^$$'), 'which no origin is')
})

t.test('SECURITY.md states the numbers of nginx and Compose', async (t) => {
  const nginx = readFileSync('nginx/templates/default.conf.template', 'utf8')
  const setting = (name: string) => new RegExp(`^ *${name} +(.*);`, 'm').exec(nginx)?.[1]
  const preset = (name: string) => /:-(\d+)/.exec(String(services.nginx?.environment?.[name]))?.[1]
  const upstream = /^upstream api \{.*?^\}/ms.exec(nginx)?.[0] ?? ''
  const calls = [...upstream.matchAll(/max_conns=(\d+)/g)].reduce((sum, [, most]) => sum + Number(most), 0)
  const promises = readFileSync('SECURITY.md', 'utf8').replaceAll(/\s+/g, ' ')
  for (const promise of [
    `${setting('client_max_body_size')?.replace('k', ' KiB')} of body`,
    `${setting('client_header_timeout')?.replace('s', ' s')} for a handshake, for headers and for each pause in a body`,
    `${preset('EDGE_REGISTER_RATE')} registrations a minute (${preset('EDGE_REGISTER_BURST')} at once)`,
    `${preset('EDGE_REQUEST_RATE')} requests a second (${preset('EDGE_REQUEST_BURST')} at once)`,
    `${preset('EDGE_CONNECTIONS')} connections with a request in progress`,
    `${preset('EDGE_OPEN_CONNECTIONS')} open connections`,
    `${preset('EDGE_LISTS_PER_ADDRESS')} lists`,
    `${preset('EDGE_WATCHERS_PER_ADDRESS')} event streams`,
    `nginx gives each API ${calls} calls at a time`
  ]) {
    t.ok(promises.includes(promise), promise)
  }
  t.equal(setting('client_body_timeout'), setting('client_header_timeout'))
  t.match(services.nginx?.environment, { EDGE_REGISTER_RATE: /r\/m\}$/, EDGE_REQUEST_RATE: /r\/s\}$/ })
})
