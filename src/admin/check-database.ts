import { readMigrations } from '../postgres/migrations.ts'
import { isDatabaseUnavailable } from '../postgres/postgres-errors.ts'
import { withSql } from './admin-database.ts'
import { createDiagnosis, type Right, type Setting } from './diagnosis.repository.ts'
import { type Finding, note, ok, problem } from './doctor-finding.ts'

/** 15.0, as PostgreSQL numbers it. */
const MIN_VERSION = 150_000
/** Milliseconds. A certificate's validity is judged by this clock at registration, and by the database's from then on. */
const MAX_SKEW = 5000
/** From 0 to 1. While every listener reads, the notification queue is almost empty. */
const MAX_QUEUE = 0.1
/** Seconds. */
const MAX_TRANSACTION = 300
/** Days. */
const SOON = 30
/** Peers at one private address: more than any household has. */
const CROWD = 20

const MIGRATE = 'npm run migrate (docker compose run --rm migrate)'
const SET_UP = `an administrator runs postgres/roles.sh (docker compose exec -T postgres sh < postgres/roles.sh), then ${MIGRATE}`
const TAKE_BACK = `take back what was granted; what is needed comes with ${MIGRATE}`
const SUPERUSER = 'a superuser runs postgres/roles.sh; where you have none (managed PostgreSQL),'

/** What to say about a flaw, where % stands for its subjects, and how to fix it. */
const FLAWS: Record<string, [message: string, remedy: string, report?: typeof problem]> = {
  attributes: [
    '%: may do more than log in',
    'alter role … nosuperuser nocreatedb nocreaterole noreplication nobypassrls'
  ],
  memberships: ['%', 'revoke … from …'],
  tables: ['%', TAKE_BACK],
  functions: ['roles other than relay_cleanup may call %', TAKE_BACK],
  'no functions': ['relay_cleanup may not call %', MIGRATE],
  'search paths': [
    'a caller can redirect the names in %',
    'alter function … set search_path = pg_catalog, pg_temp, with the schema before each name in it'
  ],
  schema: ['%: may create tables and functions', SET_UP],
  'temporary tables': ['%: may create temporary tables', SET_UP],
  database: ['everybody may connect to %', SET_UP],
  'other databases': [
    "the tracker's roles may also connect to %",
    'revoke connect on database … from public, unless others need it',
    note
  ],
  'large objects': ['%: may create large objects, without limit', `${SUPERUSER} watch how the database grows`, note],
  messages: ['%: may write to the write-ahead log, without limit', `${SUPERUSER} watch how the log grows`, note],
  'temporary files': [
    '%: may create temporary files, without limit',
    `${SUPERUSER} set temp_file_limit for the server`,
    note
  ],
  settings: ['not as postgres/roles.sh sets it: %', SET_UP],
  logs: [
    "the values of %'s failed statements are in PostgreSQL's log",
    `${SUPERUSER} set log_error_verbosity = terse for the server`,
    note
  ],
  'no limits': ['%: may take every connection', SET_UP],
  limits: ["the roles' limits allow % connections: the owner may get none", `raise max_connections; then ${SET_UP}`]
}

type Diagnosis = ReturnType<typeof createDiagnosis>

/** What each role needs; sql/rights.sql grants it by column. */
const NEEDED: Record<string, Record<string, string>> = {
  relay_api: {
    clients: 'select insert update delete',
    broadcasts: 'select insert update delete',
    pending_certificates: 'select insert update delete',
    pending_registrations: 'select insert update delete',
    mail_counts: 'select insert update'
  },
  relay_cleanup: { broadcasts: 'select' },
  relay_mailer: { broadcasts: 'select', pending_registrations: 'select update' },
  relay_admin: {
    clients: 'select insert update delete',
    broadcasts: 'select delete',
    pending_certificates: 'select',
    pending_registrations: 'select delete',
    schema_migrations: 'select'
  }
}

/** What postgres/roles.sh sets for each role. */
function settingsOf(role: string): Setting[] {
  const needed = ['log_parameter_max_length_on_error=0']
  if (!['relay_owner', 'relay_admin'].includes(role)) needed.push('statement_timeout=2s', 'lock_timeout=600ms')
  const ofSuperuser = ['log_error_verbosity=terse', 'log_parameter_max_length=0', 'auto_explain.log_min_duration=-1']
  if (role !== 'relay_owner') ofSuperuser.push('temp_file_limit=256MB')
  return [
    ...needed.map((setting) => ({ role, setting, isOptional: false })),
    ...ofSuperuser.map((setting) => ({ role, setting, isOptional: true }))
  ]
}

/** Checks whether the database can be reached, its version, clock and schema, and the rights in it. */
export async function checkDatabase(url: string): Promise<Finding[]> {
  const { host } = new URL(url)
  try {
    return await withSql(url, async (sql) => {
      const diagnosis = createDiagnosis(sql)
      const server = await diagnosis.server()
      const findings = [
        checkServer(host, server),
        await checkClock(diagnosis),
        checkQueue(await diagnosis.notificationQueue()),
        ...checkTransactions(await diagnosis.longTransactions(MAX_TRANSACTION))
      ]
      const schema = await checkMigrations(diagnosis)
      findings.push(...schema)
      // The other checks need tables that may be missing.
      if (schema.some(({ status }) => status === 'problem')) return findings
      const callers = await checkCallers(diagnosis)
      return [...findings, ...(await checkRights(diagnosis)), await checkClients(diagnosis), ...callers]
    })
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    const remedy = isDatabaseUnavailable(error)
      ? 'check whether PostgreSQL runs, and whether DATABASE_URL names its host and port'
      : 'check whether DATABASE_URL names the right user, password and database'
    return [problem('database', `${host}: ${[message, code].find(Boolean)}`, remedy)]
  }
}

export function checkServer(host: string, { version, user, isReadOnly }: Awaited<ReturnType<Diagnosis['server']>>) {
  const name = `PostgreSQL ${Math.floor(version / 10_000)}.${version % 10_000} at ${host}, as ${user}`
  if (version < MIN_VERSION) return problem('database', name, 'upgrade it: the tracker needs PostgreSQL 15 or later')
  if (isReadOnly)
    return problem('database', `${name}: a standby, which accepts no writes`, 'let DATABASE_URL name the primary')
  return ok('database', name)
}

async function checkClock({ clock }: Diagnosis): Promise<Finding> {
  const before = Date.now()
  const now = await clock()
  // The database answered at some moment in between.
  const skew = Math.round(now - (before + Date.now()) / 2)
  const message = `the database's clock differs by ${skew} ms from this machine's`
  if (Math.abs(skew) <= MAX_SKEW) return ok('clock', message)
  return problem('clock', message, 'let both follow NTP (timedatectl set-ntp true)')
}

/** @param usage from 0 to 1 */
export function checkQueue(usage: number): Finding {
  const message = `the notification queue is ${Math.round(usage * 100)} % full`
  if (usage <= MAX_QUEUE) return ok('notifications', message)
  const remedy =
    "end the session that PostgreSQL's log names: when the queue is full, announcements are answered with 503"
  return problem('notifications', message, remedy)
}

function checkTransactions(sessions: string[]): Finding[] {
  const remedy =
    'calls and migrations may wait for it; unless it is a backup or an import, a superuser ends it with select pg_terminate_backend(process)'
  return sessions.map((session) => note('transactions', session, remedy))
}

async function checkMigrations(diagnosis: Diagnosis): Promise<Finding[]> {
  const applied = await diagnosis.migrations()
  if (!applied) return [problem('migrations', 'none was ever applied', MIGRATE)]
  const known = await readMigrations()
  const md5Of = new Map(applied.map(({ version, md5 }) => [version, md5]))
  const findings: Finding[] = []
  for (const { version, filename, md5 } of known) {
    if (!md5Of.has(version)) findings.push(problem('migrations', `${filename} is not applied`, MIGRATE))
    else if (md5Of.get(version) !== md5) {
      const remedy = 'restore the file as it was released; changes belong in a new migration'
      findings.push(problem('migrations', `${filename} was altered after it was applied`, remedy))
    }
  }
  const newest = Math.max(...known.map(({ version }) => version))
  const newer = applied.filter(({ version }) => version > newest).length
  if (newer > 0) findings.push(note('migrations', `${newer} are from a newer version`, 'update this installation too'))
  return findings.length > 0 ? findings : [ok('migrations', `all ${known.length} are applied, and unchanged`)]
}

async function checkRights({ roles, haveRights, flaws }: Diagnosis): Promise<Finding[]> {
  const there = await roles(Object.keys(NEEDED))
  const findings = checkRoles(there)
  const needed = there.flatMap((role) =>
    Object.entries(NEEDED[role] as Record<string, string>).flatMap(([table, privileges]) =>
      privileges.split(' ').map((privilege) => ({ role, table, privilege }) as Right)
    )
  )
  // Only the administrator may lift a revocation.
  const forbidden = there
    .filter((role) => role !== 'relay_admin')
    .map((role): Right => ({ role, table: 'clients', privilege: 'update', column: 'revoked_at' }))
  const given = await haveRights([...needed, ...forbidden])
  for (const [n, { role, table, privilege }] of needed.entries()) {
    if (!given[n]) findings.push(problem('rights', `${role} may not ${privilege} ${table}`, MIGRATE))
  }
  for (const [n, { role }] of forbidden.entries()) {
    const remedy = `take back its grants, its superuser attribute and its memberships in other roles; then ${MIGRATE}`
    if (given[needed.length + n]) findings.push(problem('rights', `${role} may revoke and restore clients`, remedy))
  }
  const settings = [...there, 'relay_owner'].flatMap(settingsOf)
  for (const { kind, subjects } of await flaws(there, needed, settings)) {
    const [template, remedy, report = problem] = FLAWS[kind] as (typeof FLAWS)[string]
    const message = template.replace('%', () => subjects)
    findings.push(report('rights', message, remedy))
  }
  return findings.length > 0 ? findings : [ok('rights', `${there.join(', ')}: what each needs, and no more`)]
}

export function checkRoles(there: string[]): Finding[] {
  const missing = Object.keys(NEEDED).filter((name) => !there.includes(name))
  if (missing.length === 0) return []
  const message = `there is no role ${missing.join(', ')}: a process that shares another's role may do more than it needs`
  return [note('rights', message, SET_UP)]
}

async function checkClients({ certificates }: Diagnosis): Promise<Finding> {
  const { clients, expired, expiring } = await certificates(SOON)
  const message = `${expired} of ${clients} clients' certificates have expired, and ${expiring} will within ${SOON} days`
  if (expired + expiring === 0) return ok('certificates', message)
  const remedy = `peers have to replace theirs: npm run admin -- clients list --expires-within ${SOON}`
  return note('certificates', message, remedy)
}

/** Behind a proxy that hides their addresses, peers share one limit, and its address as their `observed_address`. */
async function checkCallers({ sharedAddress }: Diagnosis): Promise<Finding[]> {
  const shared = await sharedAddress(CROWD)
  if (!shared) return []
  const message = `${shared.peers} peers are online at one private address, ${shared.address}: a gateway that hides theirs?`
  return [note('callers', message, 'then they share one limit: see "IPv6" and "Firewall" in docs/DEPLOYMENT.md')]
}
