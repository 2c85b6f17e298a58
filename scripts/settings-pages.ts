import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SETTINGS } from '../src/runtime/settings.ts'
import { markdownTable } from './markdown-table.ts'

interface Setting {
  description?: string
  default?: unknown
  examples?: unknown[]
}

type Group = Record<string, object>

/** What only Compose and nginx read; docker-compose.yml has the defaults. */
const COMPOSE: Record<string, string> = {
  LISTEN: 'Where nginx listens for peers; `443` serves the internet, `0.0.0.0:443` IPv4 alone',
  IPV6: 'Whether nginx has IPv6; `true` with `LISTEN=443` ([more](DEPLOYMENT.md#ipv6))',
  SERVER_NAME: 'The name or address (only one, without a port) in the certificate that nginx makes if it has none',
  TLS_DIR: `Where nginx has its certificate: a volume, in which it makes one at the first start, or \`./folder\` with your own
    \`server.crt\` and \`server.key\``,
  EDGE_REGISTER_RATE: 'Registrations of one caller, a minute (`r/m`) or a second (`r/s`)',
  EDGE_REGISTER_BURST: 'How many more registrations at once',
  EDGE_REQUEST_RATE: 'All requests of one caller',
  EDGE_REQUEST_BURST: 'How many more requests at once',
  EDGE_CONNECTIONS: 'Connections of one caller with a request in flight. An event stream counts as one',
  EDGE_OPEN_CONNECTIONS: `All connections of one caller, from the first packet on, including those that never finish their handshake. Further
    ones are closed at once. Needs nginx 1.25.5 or later with its stream module, as in its image`,
  EDGE_LISTS: `Whole lists that one API sends at once, to all callers together. Each lasts as long as its reader takes, and others wait. Single
    pages (\`limit=\`) go on meanwhile, 24 at once`,
  EDGE_LISTS_PER_ADDRESS: 'Whole lists that one caller receives at once, and as many single pages',
  EDGE_WATCHERS_PER_ADDRESS: 'Event streams that one caller has at once, of the 5,000 that an API serves',
  PROMETHEUS_PORT: 'With `--profile observability`: the port of Prometheus on 127.0.0.1',
  GRAFANA_PORT: 'With `--profile observability`: the port of Grafana on 127.0.0.1'
}

/** The page `docs/CONFIGURATION.md`. */
export function settingsPage(): string {
  return `# Configuration

<!-- Made by \`npm run generate\` from src/runtime/settings.ts and scripts/settings-pages.ts. -->

Settings are environment variables, or lines of a \`.env\` file in the folder where a process is started; the environment
wins. [.env.example](../.env.example) has them all. An empty variable counts as not set. If one is wrong or missing, the
process does not start, and says so in one line that names it:

\`\`\`sh
DATABASE_URL=postgres://relay@localhost/relay PORT=http npm run --silent api
\`\`\`

\`\`\`text
relay-tracker: PORT: must be integer
\`\`\`

A process reads its settings once, when it starts. To change one, restart the process; with Compose, \`docker compose up
-d\` restarts those that the change affects.

## All processes

${table(SETTINGS.all)}

## API

\`npm run api\`, \`src/processes/api.ts\`, the service \`api\` of Compose; also \`npm start\`.

${table(SETTINGS.api)}

With \`SMTP_URL\`, e-mail addresses must be confirmed. The API then needs \`MAIL_FROM\` and \`PUBLIC_URL\` too, as the mailer
does.

## Cleanup worker

\`npm run cleanup\`, \`src/processes/cleanup.ts\`, the service \`cleanup\`; a part of \`npm start\`.

${table(SETTINGS.cleanup)}

## Mailer

\`npm run mailer\`, \`src/processes/mailer.ts\`, the service \`mailer\`; a part of \`npm start\`.

${table(SETTINGS.mailer)}

## npm start

${table(SETTINGS.standalone)}

## Compose

\`docker compose\` reads these; the processes do not.

${table(composeSettings())}

nginx enforces the \`EDGE_…\` limits, so they are also settings of the image that \`nginx/Dockerfile\` makes. One caller is
an IPv4 address or an IPv6 /64, because the holder of one address in a /64 can use all of them.
`
}

/** The file `.env.example`. */
export function envExample(): string {
  return `# Made by \`npm run generate\` from src/runtime/settings.ts and scripts/settings-pages.ts.
#
# Every setting, with its default. Copy to .env: the npm scripts and docker compose read it; the environment wins.
# docs/CONFIGURATION.md says more.

# All processes

${examples(SETTINGS.all).replace(/^#(?=DATABASE_URL=)/m, '')}

# API

${examples(SETTINGS.api)}

# Cleanup worker

${examples(SETTINGS.cleanup)}

# Mailer. With SMTP_URL, the API needs MAIL_FROM and PUBLIC_URL too.

${examples(SETTINGS.mailer)}

# npm start

${examples(SETTINGS.standalone)}

# Only for docker compose. One caller is an IPv4 address or an IPv6 /64.

${examples(composeSettings())}
`
}

/** @throws AssertionError if docker-compose.yml has a variable that is not described here, or the other way round */
function composeSettings(): Group {
  const text = readFileSync(join(import.meta.dirname, '..', 'docker-compose.yml'), 'utf8')
  const ours = new Set(Object.values(SETTINGS).flatMap(Object.keys))
  const variables = [...text.matchAll(/\$\{(\w+):-(.*?)\}/g)].filter(([, name = '']) => !ours.has(name))
  const defaults = new Map(variables.map(([, name = '', value]) => [name, value]))
  assert.deepEqual([...defaults.keys()].sort(), Object.keys(COMPOSE).sort())
  return Object.fromEntries(
    Object.entries(COMPOSE).map(([name, description]) => [name, { description, default: defaults.get(name) }])
  )
}

function table(group: Group) {
  const rows = Object.entries<Setting>(group).map(([name, setting]) => [
    `\`${name}\``,
    setting.default === undefined ? 'none' : `\`${setting.default}\``,
    textOf(setting)
  ])
  return markdownTable(['variable', 'default', ''], rows)
}

function examples(group: Group) {
  return Object.entries<Setting>(group)
    .map(([name, setting]) => {
      const value = setting.default ?? setting.examples?.[0] ?? ''
      return `${asComment(firstSentence(textOf(setting)))}\n#${name}=${value}`
    })
    .join('\n')
}

function textOf({ description = '' }: Setting) {
  return description.replaceAll(/\s+/g, ' ')
}

/** As plain text, without links. */
function firstSentence(markdown: string) {
  const [sentence = ''] = markdown.split(/\.(?= )/)
  return sentence.replaceAll(/ \(\[[^\]]+\]\([^)]+\)\)|`/g, '').replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1')
}

function asComment(text: string) {
  return text
    .match(/.{1,118}(?: |$)/g)
    ?.map((line) => `# ${line.trimEnd()}`)
    .join('\n')
}
