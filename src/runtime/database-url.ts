import { readFileSync } from 'node:fs'

/** A database as its URL names it, in PostgreSQL's own form (libpq): one or several hosts, and how to trust them. */
export interface Database {
  /** In the order of the URL; the same database at each. */
  hosts: [Host, ...Host[]]
  /** What the server has to be that is connected to; undefined: whatever it is. */
  target: 'primary' | 'standby' | undefined
  tls: Tls | undefined
}

export interface Host {
  /** Or an IP address. */
  name: string
  port: number
  /** Of this host alone, and all that postgres.js and PostgreSQL understand. */
  url: string
}

export interface Tls {
  mode: 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  /** PEM of the authorities that are trusted; undefined: those of Node.js. */
  ca: string | undefined
}

const MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full']

/** A server that takes writes is the primary: nothing else does. */
const TARGETS = { any: undefined, primary: 'primary', 'read-write': 'primary', standby: 'standby' } as const

/**
 * Reads `postgres://user@host1:5432,host2/database?sslmode=…&sslrootcert=…&target_session_attrs=…`. Of several hosts it is the
 * primary that is meant, unless said otherwise.
 *
 * @throws Error that says in one line what is wrong with it, also when the authorities' file cannot be read
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
  const target = readTarget(take('target_session_attrs') ?? (names.length > 1 ? 'primary' : 'any'))
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
  return { hosts: hosts as Database['hosts'], target, tls }
}

function readTls(mode: string | undefined, roots: string | undefined): Tls | undefined {
  const chosen = mode ?? (roots === 'system' ? 'verify-full' : 'disable')
  if (!MODES.includes(chosen)) throw new Error(`sslmode must be one of ${MODES.join(', ')}`)
  if (roots === 'system' && chosen !== 'verify-full') throw new Error('sslrootcert=system needs sslmode=verify-full')
  if (chosen.startsWith('verify') && roots === undefined) {
    throw new Error(`sslmode=${chosen} needs sslrootcert: a file with the authorities that are trusted, or system`)
  }
  if (chosen === 'disable') return undefined
  const ca = roots === undefined || roots === 'system' ? undefined : readFileSync(roots, 'utf8')
  // As libpq: who names authorities wants them asked.
  return { mode: (chosen === 'require' && ca ? 'verify-ca' : chosen) as Tls['mode'], ca }
}

function readTarget(name: string): Database['target'] {
  if (!Object.hasOwn(TARGETS, name)) {
    throw new Error(`target_session_attrs must be one of ${Object.keys(TARGETS).join(', ')}`)
  }
  return TARGETS[name as keyof typeof TARGETS]
}
