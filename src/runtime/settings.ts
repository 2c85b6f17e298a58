import { type Static, Type } from 'typebox'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
/** How an edge passes a client's certificate on (`identity/client-certificate.ts`). */
export const EDGE_FORMAT_NAMES = ['nginx', 'rfc9440', 'der-base64', 'traefik', 'xfcc', 'alb'] as const
const POSTGRES_URL = '^postgres(ql)?://'
const HOST_NAMES = '^\\s*\\.?[\\w-]+(\\.[\\w-]+)*\\s*(,\\s*\\.?[\\w-]+(\\.[\\w-]+)*\\s*)*$'

const text = (value: string, description: string) => Type.String({ default: value, description })
const port = (value: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65535, default: value, description })
const optional = (rules: object, description: string) => Type.Optional(Type.String({ ...rules, description }))

/**
 * Every setting of every process, by who reads it. `npm run generate` makes docs/CONFIGURATION.md from the descriptions, and
 * `.env.example` from their first sentences.
 */
export const SETTINGS = {
  all: {
    DATABASE_URL: Type.String({
      pattern: POSTGRES_URL,
      examples: ['postgres://relay:relay@localhost:5432/relay'],
      description: `Where PostgreSQL is, required by all processes except \`npm start\`, which brings its own:
        \`postgres://user:password@host:port/database\`. Escape characters such as \`/ # %\` in the password, as in any URL. The
        password may be in \`PGPASSWORD\` instead, unescaped, or in a file. Several hosts, and TLS (\`sslmode\`, \`sslrootcert\`):
        [HIGH_AVAILABILITY.md](HIGH_AVAILABILITY.md)`
    }),
    DATABASE_PASSWORD_FILE: optional(
      {},
      `A file with the password of the user in \`DATABASE_URL\` and \`DATABASE_POOLER_URL\`, which then must contain none. For a
      secret of Docker, Kubernetes or systemd. White space around it is ignored; an empty file means no password`
    ),
    DATABASE_POOLER_URL: optional(
      { pattern: POSTGRES_URL },
      `PgBouncer in transaction mode in front of the same database. Whatever needs a session still uses \`DATABASE_URL\`
      ([more](HIGH_AVAILABILITY.md#pgbouncer))`
    ),
    INTERNAL_HOST: text(
      '127.0.0.1',
      `The address on which a process serves operators, over plain HTTP: \`/livez\`, \`/readyz\` and \`/metrics\`, and the API also
      \`/openapi.json\` and \`/docs/\`. Use \`0.0.0.0\`, or \`::\` for IPv6 too, if requests come from other machines, such as a
      kubelet; then let a firewall or a NetworkPolicy decide which`
    ),
    INTERNAL_HOSTS: optional(
      { pattern: HOST_NAMES },
      `The host names that operators use there, separated by commas; \`.example.com\` is every name below it. Any other name gets
      421 \`misdirected_request\`, because a web page could have made the browser ask. Not needed for addresses, names without a
      dot (Compose, a Service in the same namespace), the machine's own name, and names under \`localhost\`, \`local\`
      (Kubernetes's \`cluster.local\`), \`internal\` and \`svc\``
    ),
    LOG_LEVEL: Type.Enum(LOG_LEVELS, {
      default: 'info',
      description: `The lowest level that is logged: \`fatal\`, \`error\`, \`warn\`, \`info\`, \`debug\`, \`trace\`, or \`silent\` for
        nothing`
    })
  },
  api: {
    HOST: text(
      '127.0.0.1',
      'The address on which the API serves peers, or the edge; `::` is every address, IPv6 and IPv4'
    ),
    PORT: port(3000, 'The port for peers, or the edge; for `npm start` the default is `8443`'),
    INTERNAL_PORT: port(3003, "The API's port for operators"),
    TLS_CERT_PATH: optional(
      {},
      `A PEM file with the server's certificate and its chain; with it and \`TLS_KEY_PATH\`, the API terminates TLS itself. It then
      takes the peer's certificate from the handshake alone and ignores every header. \`npm start\` makes both files`
    ),
    TLS_KEY_PATH: optional({}, 'A PEM file with the private key of that certificate'),
    CLIENT_CERT_FORMAT: Type.Enum(EDGE_FORMAT_NAMES, {
      default: 'nginx',
      description: `Without those two, how the edge passes the certificate on, and in which header: \`nginx\`, \`rfc9440\`,
        \`der-base64\` (HAProxy), \`traefik\`, \`xfcc\` (Envoy) or \`alb\` (AWS). No other header is read
        ([other edges](../examples/README.md))`
    }),
    TRUSTED_PROXIES: text(
      'loopback,uniquelocal',
      `Without those two, which proxies are believed about the certificate and \`X-Forwarded-For\`: addresses, ranges such as
      \`10.0.0.0/8\`, and the names \`loopback\`, \`linklocal\`, \`uniquelocal\` (the private ranges), separated by commas. If others
      share the edge's network, name its address alone`
    ),
    REGISTRATION_PROOF: Type.Enum(['optional', 'required'], {
      default: 'optional',
      description: `\`required\`: a registration must present its certificate in the TLS handshake, so that nobody can register
        somebody else's`
    }),
    BROADCAST_TTL_SECONDS: Type.Integer({
      minimum: 1,
      maximum: 86400,
      default: 3600,
      description: `How long an announcement lasts, in seconds, from 1 to 86400; also the maximum that a peer may ask for with
        \`ttl\``
    })
  },
  cleanup: {
    CLEANUP_SCHEDULE: text(
      '*/5 * * * *',
      `When the cleanup worker deletes what has expired: cron, optionally with seconds as a sixth field in front. No answer to a
      peer depends on it`
    ),
    CLEANUP_PORT: port(3001, "The cleanup worker's port for operators. With `--once`, nothing listens")
  },
  mailer: {
    SMTP_URL: optional(
      { pattern: '^smtps?://', examples: ['smtp://relay@mail.example.com:587'] },
      `The server that takes the mails by which peers confirm their e-mail addresses; without it, addresses are not verified.
      \`smtp://user:password@host:port\`, where STARTTLS is required unless the server is this machine (\`?requireTLS=false\` lifts
      that), or \`smtps://…\``
    ),
    SMTP_PASSWORD_FILE: optional(
      { examples: ['./smtp-password'] },
      'A file with the password of the user in `SMTP_URL`, which then must contain none. Only the mailer needs it'
    ),
    MAIL_FROM: optional(
      { pattern: '^[^@\\s]+@[^@\\s]+$', examples: ['relay@example.com'] },
      'The sender of the mails: `relay@example.com`'
    ),
    PUBLIC_URL: optional(
      { pattern: '^https://[^/?#]+/?$', examples: ['https://relay.example.com'] },
      'Where browsers reach the tracker, for the link in the mails: `https://relay.example.com`, without a path'
    ),
    MAILER_PORT: port(3002, "The mailer's port for operators")
  },
  standalone: {
    DATA_DIR: text(
      '.data',
      `The folder of the database, the server certificate and the database's URL. Its path may have at most 500 bytes. Only one
      process may use it at a time; \`owner\` in it names that process`
    )
  }
}

const { all, api, cleanup, mailer, standalone } = SETTINGS
export const schema = Type.Object({ ...all, ...api, ...cleanup, ...mailer, ...standalone })

/** The settings as given, with defaults. */
export type Settings = Static<typeof schema>
