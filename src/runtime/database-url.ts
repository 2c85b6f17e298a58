import { readFileSync } from 'node:fs'

/** What a URL in libpq's form says: one or several hosts of a database, and how to trust them. */
export interface Database {
  /** In the order of the URL. */
  hosts: [Host, ...Host[]]
  /** What a server has to be; undefined if it does not matter. */
  target: 'primary' | 'standby' | undefined
  tls: Tls | undefined
}

export interface Host {
  /** A host name or an IP address. */
  name: string
  port: number
  /** For this host alone, with the parameters that postgres.js and PostgreSQL understand. */
  url: string
}

export interface Tls {
  mode: 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  /** PEM of the trusted authorities; undefined for those of Node.js. */
  ca: string | undefined
}

const MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full']

/** Only the primary accepts writes. */
const TARGETS = { any: undefined, primary: 'primary', 'read-write': 'primary', standby: 'standby' } as const

/**
 * Reads `postgres://user@host1:5432,host2/database?sslmode=…&sslrootcert=…&target_session_attrs=…`. Of several hosts, the primary is
 * wanted by default.
 *
 * @throws Error that says in one line what is wrong, such as an unreadable file of authorities
 */
export function readDatabaseUrl(url: string): Database {
  const [, start, authority, rest] = url.match(/^(\w+:\/\/(?:[^@/?#]*@)?)([^/?#]*)(.*)$/s) as string[]
  const names = (authority as string).split(',')
  const { searchParams } = new URL(`${start}${names[0]}${rest}`)
  const take = (name: string) => {
    const value = searchParams.get(name) ?? undefined
    searchParams.delete(name)
    return value
  }
  const tls = readTls(take('sslmode'), take('sslrootcert'))
  const wanted = take('target_session_attrs') ?? (names.length > 1 ? 'primary' : 'any')
  if (!Object.hasOwn(TARGETS, wanted)) {
    throw new Error(`target_session_attrs must be one of ${Object.keys(TARGETS).join(', ')}`)
  }
  const hosts = names.map((name) => {
    const one = new URL(`${start}${name}${rest}`)
    one.search = searchParams.toString().replaceAll('+', '%20')
    const { hostname, port } = one
    if (!hostname && names.length > 1) throw new Error('a host has no name')
    return {
      name: hostname.replace(/^\[(.*)\]$/, '$1') || process.env.PGHOST || 'localhost',
      port: Number(port || process.env.PGPORT || 5432),
      url: one.href
    }
  })
  return { hosts: hosts as Database['hosts'], target: TARGETS[wanted as keyof typeof TARGETS], tls }
}

function readTls(mode: string | undefined, roots: string | undefined): Tls | undefined {
  const chosen = mode ?? (roots === 'system' ? 'verify-full' : 'disable')
  if (!MODES.includes(chosen)) throw new Error(`sslmode must be one of ${MODES.join(', ')}`)
  if (roots === 'system' && chosen !== 'verify-full') throw new Error('sslrootcert=system needs sslmode=verify-full')
  if (chosen.startsWith('verify') && roots === undefined) {
    throw new Error(`sslmode=${chosen} needs sslrootcert: a file with the trusted authorities, or system`)
  }
  if (chosen === 'disable') return undefined
  const ca = roots === undefined || roots === 'system' ? undefined : readFileSync(roots, 'utf8')
  // As in libpq, naming authorities means checking with them.
  return { mode: (chosen === 'require' && ca ? 'verify-ca' : chosen) as Tls['mode'], ca }
}
