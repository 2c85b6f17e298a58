import { hash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import type { Certificate } from '../../src/identity/certificate.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { followChangeFeed } from '../../src/presence/change-feed.repository.ts'
import { createRepository, type Repository } from '../../src/repository.ts'
import { callerWith } from '../support/caller.ts'
import { createDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addPeers } from '../support/many-peers.ts'

/** Few registered clients are online, and for every two online, one broadcast has expired. */
const REGISTERED = 300_000
const ONLINE = 30_000
const EXPIRED = 15_000
/** Rows of each other table, a third of them expired. */
const OTHERS = 30_000
/** A prepared statement is first planned for its values, and later perhaps once for all values. */
const MODES = ['force_custom_plan', 'force_generic_plan']
/** Rows of a page of the list, and of a round of the cleanup. */
const MANY = 1000

/** The most that a plan's node may read: rows including discarded ones, buffers including those of the nodes below. */
const FEW = { rows: 10, buffers: 100 }
/** The list also passes expired rows, and parallel workers read ahead. */
const THOUSANDS = { rows: 3 * MANY, buffers: 10 * MANY }
/** Statements that read more than a few rows. */
const IN_PROPORTION_TO: Record<string, typeof FEW> = {
  'list.page': THOUSANDS,
  'list.everyone': THOUSANDS,
  'broadcasts.deleteExpired': THOUSANDS,
  'pendingRegistrations.deleteExpired': THOUSANDS,
  'pendingRegistrations.deleteMailCounts': THOUSANDS,
  // 4,000 blocks of each of two tables, with their rows.
  'list.count': { rows: 4000 * 60, buffers: 3 * 4000 }
}

interface Explained {
  'Query Text': string
  Plan: Node
}

interface Wire {
  url: string
  text: string
}

interface Peer {
  id: string
  email: string
  fingerprint: string
}

interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
  Plans?: Node[]
}

t.test('every statement finds its rows by an index, and reads no others', async (t) => {
  const { url, sql } = await createDatabase(t)
  await addPeers(sql, REGISTERED, { online: ONLINE + EXPIRED })
  await sql`
    update broadcasts set last_announced_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
    where client_id in (
      select client_id from broadcasts join clients on clients.id = client_id order by fingerprint limit ${EXPIRED}
    )`
  await sql`
    insert into pending_certificates (client_id, certificate, not_before, not_after)
    select id, uuid_send(id), not_before, not_after from clients order by id limit ${OTHERS}`
  await sql`
    insert into pending_registrations (email, certificate, not_before, not_after, expires_at, mail_due_at)
    select email, uuid_send(id), not_before, not_after, now() + (n - ${OTHERS / 3}) * interval '4 s',
      case when n > ${OTHERS / 3} then now() end
    from (select *, row_number() over (order by id) n from clients limit ${OTHERS}) client`
  await sql`
    insert into mail_counts (subject, began_at)
    select 'to ' || n, now() - n * interval '90 min' / ${OTHERS} from generate_series(1, ${OTHERS}::integer) n`
  await sql`vacuum analyze`
  const peers = await sql<Peer[]>`
    select c.* from clients c join broadcasts b on b.client_id = c.id where b.expires_at > now() limit ${MODES.length + 1}`

  for (const [n, mode] of MODES.entries()) {
    const wire = await explained(t, url, mode)
    const pool = createPool(wire.url)
    t.teardown(pool.end)
    const repository = createRepository(pool)
    const calls = callsOf(repository, wire, peers.slice(n) as [Peer, Peer], n)
    const names = Object.entries(repository).flatMap(([part, methods]) =>
      typeof methods === 'function' ? part : Object.keys(methods).map((name) => `${part}.${name}`)
    )
    t.same(Object.keys(calls).sort(), [...names, 'followChangeFeed'].sort(), 'each is called')
    for (const [name, call] of Object.entries(calls)) {
      wire.text = ''
      await call()
      const plans = plansIn(wire.text)
      t.not(plans.length, 0, `${name} is explained`)
      for (const plan of plans) check(t, name, plan)
    }
  }
})

/** How to call each statement for the nth time. */
function callsOf(
  repository: Repository,
  wire: Wire,
  peers: [Peer, Peer],
  n: number
): Record<string, () => Promise<unknown>> {
  const { broadcasts, clients, list, pendingRegistrations, rotations } = repository
  const [{ id, email, fingerprint }, other] = peers
  const [mine, next, asked] = [certificate(`mine ${n}`), certificate(`next ${n}`), certificate(`asked ${n}`)]
  const token = hash('sha256', `token ${n}`, 'buffer')
  const caller = callerWith(fingerprint)
  const address = { port: 1, addresses: ['10.0.0.1'], observed_address: null, capabilities: {} }
  return {
    ping: () => repository.ping(),
    'broadcasts.announce': () => broadcasts.announce(caller, { ...address, ttl: 3600 }),
    'broadcasts.findOwn': () => broadcasts.findOwn(id),
    'broadcasts.findByEmail': () => broadcasts.findByEmail(caller, other.email),
    'broadcasts.findByFingerprint': () => broadcasts.findByFingerprint(caller, other.fingerprint),
    'broadcasts.findAll': () => broadcasts.findAll([email, other.email]),
    'list.everyone': () => list.everyone(id, MANY),
    'list.page': () => list.page(id, other.id, MANY),
    'list.count': () => list.count(),
    'list.version': () => list.version(),
    'broadcasts.deleteExpired': () => broadcasts.deleteExpired(MANY),
    'broadcasts.withdraw': () => broadcasts.withdraw(id),
    'clients.find': () => clients.find(fingerprint),
    'clients.findConflict': () => clients.findConflict(email, mine, true),
    'clients.register': async () => {
      await clients.register(`claim-${n}@example.com`, mine, false)
      await clients.register(`holder-${n}@example.com`, mine, true)
      await clients.register(`holder-${n}@example.com`, mine, true)
    },
    'rotations.find': () => rotations.find(fingerprint),
    'rotations.propose': () => rotations.propose(fingerprint, next, Buffer.from('signature')),
    'rotations.takeOver': () => rotations.takeOver(next.fingerprint),
    'rotations.withdraw': () => rotations.withdraw(id),
    'pendingRegistrations.add': () => pendingRegistrations.add(email, asked, true, `192.0.2.${n}`),
    'pendingRegistrations.isPending': () => pendingRegistrations.isPending(asked.fingerprint),
    'pendingRegistrations.takeMail': () => pendingRegistrations.takeMail(token),
    'pendingRegistrations.find': () => pendingRegistrations.find(token),
    'pendingRegistrations.endMail': () => pendingRegistrations.endMail(token),
    'pendingRegistrations.confirm': () => pendingRegistrations.confirm(token),
    'pendingRegistrations.deleteExpired': () => pendingRegistrations.deleteExpired(MANY),
    'pendingRegistrations.deleteMailCounts': () => pendingRegistrations.deleteMailCounts(MANY),
    'clients.remove': () => clients.remove(mine.fingerprint),
    followChangeFeed: async () => {
      const looked = new AbortController()
      const listener = { changed() {}, revoked() {}, connected() {}, disconnected() {} }
      const following = followChangeFeed(wire.url, listener, looked.signal, 100)
      await eventually(
        async () => wire.text,
        (text) => plansIn(text).some(({ 'Query Text': query }) => query.includes('pg_listening_channels'))
      )
      looked.abort()
      await following
    }
  }
}

const certificate = (name: string): Certificate => {
  const der = Buffer.from(name)
  const fingerprint = hash('sha256', der, 'base64url')
  const validity = { notBefore: new Date(), notAfter: new Date(Date.now() + 3_600_000) }
  return {
    der,
    fingerprint,
    keyType: 'ec',
    commonName: null,
    hasUnhandledExtension: false,
    hasInvalidPrintableString: false,
    ...validity
  }
}

/** Fails if a plan reads more than its statement needs. */
function check(t: Test, name: string, { 'Query Text': query, Plan: plan }: Explained) {
  const most = IN_PROPORTION_TO[name] ?? FEW
  for (const node of nodesOf(plan)) {
    // The function's statements have plans of their own; its figures are their sum, triggers included.
    if (node['Node Type'] === 'Function Scan') continue
    const rows =
      node['Actual Loops'] *
      (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0))
    const buffers = node['Shared Hit Blocks'] + node['Shared Read Blocks']
    const isWhole = node['Node Type'] === 'Seq Scan' && node['Actual Loops'] > 0
    if (rows > most.rows || buffers > most.buffers || isWhole) {
      t.fail(`${name}: ${node['Node Type']} ${node['Relation Name'] ?? ''}`, { rows, buffers, most, query, plan })
    }
  }
}

const nodesOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

/** The plans in PostgreSQL's notices: each is a message, which ends with a zero byte. */
const plansIn = (text: string): Explained[] =>
  [...text.matchAll(/ms {2}plan:\n(\{[^\0]*\})\0/g)].map(([, json]) => JSON.parse(String(json)))

/** The address of a database that explains each statement, triggers' too, and all text that comes from it. */
async function explained(t: Test, databaseUrl: string, mode: string): Promise<Wire> {
  const wire = { url: '', text: '' }
  const { hostname, port } = new URL(databaseUrl)
  const server = createServer((inbound) => {
    const outbound = connect(Number(port), hostname).setEncoding('latin1')
    outbound.on('data', (text) => {
      wire.text += text
      inbound.write(text, 'latin1')
    })
    inbound.on('error', () => {}).on('close', () => outbound.destroy())
    inbound.pipe(outbound)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const settings = {
    log_min_duration: '0',
    log_format: 'json',
    log_analyze: 'on',
    log_buffers: 'on',
    log_nested_statements: 'on',
    log_timing: 'off'
  }
  url.searchParams.set('session_preload_libraries', 'auto_explain')
  url.searchParams.set('client_min_messages', 'log')
  url.searchParams.set('plan_cache_mode', mode)
  for (const [name, value] of Object.entries(settings)) url.searchParams.set(`auto_explain.${name}`, value)
  wire.url = url.href
  return wire
}
