import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { ANNOUNCEMENT, client } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { hostOfContainers, startNginx } from '../support/edge.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { start } from '../support/process.ts'
import { type Answer, asksForHead, exchange, isStream, isWhole, type Outcome } from './exchange.ts'
import { alice, type Caller, carol, dave, mutatedRequests, type Request, stranger, type Target } from './requests.ts'

/** `npm run fuzz`: mutated requests against a real API process and a real nginx in front of it. */
const SEED = Number(process.env.FUZZ_SEED || Math.floor(Math.random() * 2 ** 31))
const REQUESTS = Number(process.env.FUZZ_REQUESTS || 100_000)
/** Half of them go to each target, on connections kept for as long as the server keeps them. */
const WORKERS = 32
const SAMPLES = 100
const MAX_FINDINGS = 10
/** How much the median of the last quarter may be above that of the second: a share, and MiB for what comes in steps. */
const TOLERANCE = { share: 1.1, MiB: 4 }
const MiB = 2 ** 20

t.test(`${REQUESTS} mutated requests, FUZZ_SEED=${SEED}`, { skip: skipWithoutContainers }, async (t) => {
  console.log(`FUZZ_SEED=${SEED} FUZZ_REQUESTS=${REQUESTS}`)
  const { url: DATABASE_URL, sql } = await createDatabase(t)
  const { host, name } = await hostOfContainers()
  const NODE_OPTIONS = `--expose-gc --import=${join(import.meta.dirname, 'memory.ts')}`
  // This process plays an edge too, whatever its address is there.
  const env = {
    DATABASE_URL,
    HOST: host,
    PORT: '0',
    INTERNAL_PORT: '0',
    TRUSTED_PROXIES: '0.0.0.0/1,128.0.0.0/1',
    NODE_OPTIONS
  }
  const api = start(t, 'src/processes/api.ts', { env })
  await api.printed('Server listening')
  const apiPort = Number(/listening at http:[^"]+:(\d+)/.exec(api.output())?.[1])
  const { nginx, relay, port: edgePort } = await startNginx(t, `${name}:${apiPort}`, NO_EDGE_LIMITS)
  const alarms: string[] = []
  createInterface(await nginx.logs()).on('line', (line) => {
    if (/exited on signal|\[(emerg|alert|crit)\]/.test(line)) alarms.push(line)
  })

  for (const peer of [alice, carol]) {
    t.match(await relay.call('/register', { as: peer, body: { email: peer.email } }), { status: 200 }, 'with proof')
    t.match(await relay.ready(peer), { status: 200 })
  }
  const rowsOfCarol = () =>
    sql`select * from clients c join broadcasts b on b.client_id = c.id where c.fingerprint = ${carol.fingerprint}`
  const before = await rowsOfCarol()
  const pids = Object.keys(await nginxMemory())

  const counts: Record<Target, Record<string, number>> = { api: {}, edge: {} }
  const findings: string[] = []
  const samples: Record<string, number>[] = []
  let sampling = Promise.resolve()
  let number = 0
  const requests = mutatedRequests(SEED, REQUESTS)
  const began = Date.now()
  await Promise.all(Array.from({ length: WORKERS }, work))
  const seconds = (Date.now() - began) / 1000
  await sampling

  report()
  t.same(findings, [], 'every answer is one of the contract')
  t.equal(number, REQUESTS)
  t.same([api.child.exitCode, api.child.signalCode], [null, null], 'the API is still the same process')
  t.same(api.output().match(/^\{"level":[56]0.*$/gm), null, 'and reported no error')
  t.same(Object.keys(await nginxMemory()), pids, 'nginx has the same processes')
  t.same(alarms, [])
  t.same(await rowsOfCarol(), before, 'nobody moved carol')
  t.match(await relay.register(dave), { status: 200 })
  t.match(await relay.ready(dave), { status: 200 })
  t.match(await relay.lookup(carol, dave.email), { status: 200, body: ANNOUNCEMENT })
  t.ok((await relay.list(carol)).body.some(({ email }: { email: string }) => email === dave.email))
  t.match(await client(`http://${host}:${apiPort}/api/relay`).lookup(dave, carol.email), {
    status: 200,
    body: ANNOUNCEMENT
  })
  for (const name of Object.keys(samples[0] ?? {})) {
    const [, second = 0, , last = 0] = quarters(name)
    t.ok(
      last <= second * TOLERANCE.share + TOLERANCE.MiB,
      `${name}: ${second} MiB in the second quarter, ${last} in the last`
    )
  }

  async function work() {
    const sockets = new Map<string, Socket>()
    for (const request of requests) {
      const n = number++
      if (n % Math.ceil(REQUESTS / SAMPLES) === 0) sampling = sampling.then(sample)
      const outcome = await attempt(request, sockets).catch((error: Error) => error)
      const problem = outcome instanceof Error ? outcome.message : judge(request, outcome)
      if (problem)
        findings.push(
          `request ${n} to ${request.target} by ${request.caller}: ${problem}\n${JSON.stringify(request.bytes.toString('latin1'))}`
        )
      if (findings.length >= MAX_FINDINGS) return
    }
    for (const socket of sockets.values()) socket.destroy()
  }

  async function attempt({ target, caller, bytes }: Request, sockets: Map<string, Socket>): Promise<Outcome> {
    const whole = isWhole(bytes)
    const key = target === 'api' ? target : caller
    const kept = whole ? sockets.get(key) : undefined
    if (kept) sockets.delete(key)
    const socket = kept && !kept.destroyed ? kept : await open(target, caller)
    const outcome = await exchange(socket, bytes, whole)
    // The server may close a connection at the moment of its next use.
    if (kept && outcome.end === 'closed' && outcome.answers.length === 0)
      return attempt({ target, caller, bytes }, sockets)
    if (outcome.end === 'kept') sockets.set(key, socket)
    return outcome
  }

  async function open(target: Target, caller: Caller) {
    const peer = { alice, stranger, nobody: undefined }[caller]
    const identity = peer && { cert: peer.certificate, key: peer.privateKey }
    const socket =
      target === 'api'
        ? connectTcp(apiPort, host)
        : connectTls({ host: '127.0.0.1', port: edgePort, rejectUnauthorized: false, ...identity })
    await once(socket, target === 'api' ? 'connect' : 'secureConnect')
    return socket.on('error', () => {}).setNoDelay()
  }

  /** Counts what came back; returns what is wrong with it. */
  function judge({ target, bytes }: Request, { answers, end }: Outcome): string | undefined {
    const count = (what: string) => {
      counts[target][what] = (counts[target][what] ?? 0) + 1
      return undefined
    }
    const [first, ...more] = answers
    if (!first) {
      if (end === 'silent' && !isWhole(bytes)) return count('no answer: incomplete')
      if (target === 'api' && bytes.includes('CONNECT ')) return count('hung up: CONNECT')
      return end === 'silent' ? 'no answer' : 'closed without an answer'
    }
    const isHead = asksForHead(bytes)
    for (const [n, answer] of answers.entries()) {
      const verdict = known(answer, target, isHead && n === 0)
      if (!verdict) return `${answer.status} ${JSON.stringify(answer.headers)} ${answer.body}`
      if (n === 0) count(verdict)
    }
    if (more.length > 0) count('further answers')
    return undefined
  }

  async function sample() {
    api.child.stdin.write('\n')
    const [line] = (await once(api.child.stderr, 'data')) as [string]
    const { rss, heapUsed, external } = JSON.parse(line) as NodeJS.MemoryUsage
    const workers = Object.values(await nginxMemory())
    samples.push({
      'API, live after GC': (heapUsed + external) / MiB,
      'API, RSS': rss / MiB,
      'nginx, RSS': workers.reduce((sum, each) => sum + each, 0)
    })
  }

  /** MiB of each of nginx's processes, by process id. */
  async function nginxMemory(): Promise<Record<string, number>> {
    const script = 'cd /proc; for p in [0-9]*; do grep -qsx nginx $p/comm && echo $p $(grep VmRSS $p/status); done'
    const { stdout } = await nginx.exec(['sh', '-c', script])
    const lines = [...stdout.matchAll(/^(\d+) VmRSS: (\d+) kB$/gm)]
    return Object.fromEntries(lines.map(([, pid, kB]) => [pid, Number(kB) / 1024]))
  }

  function quarters(name: string) {
    const values = samples.map((sample) => sample[name] as number)
    return [0, 1, 2, 3].map((quarter) => {
      const part = values.slice((quarter * values.length) / 4, ((quarter + 1) * values.length) / 4)
      return Math.round((part.sort((a, b) => a - b)[part.length >> 1] ?? 0) * 10) / 10
    })
  }

  function report() {
    const lines = Object.entries(counts).map(([target, count]) => {
      const total = Object.entries(count).reduce((sum, [what, n]) => (what === 'further answers' ? sum : sum + n), 0)
      const list = Object.entries(count)
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([what, n]) => `${what}: ${n}`)
      return `${target}: ${total} requests: ${list.join(', ')}`
    })
    const memory = Object.keys(samples[0] ?? {}).map((name) => `${name}: ${quarters(name).join(', ')}`)
    console.log(
      [
        `FUZZ_SEED=${SEED}: ${number} requests in ${seconds.toFixed(0)} s, ${Math.round(number / seconds)} a second`,
        ...lines,
        'memory in MiB, median of each quarter:',
        ...memory
      ].join('\n')
    )
  }
})

/** What an answer counts as, if it is in the contract or a known exception. */
function known({ status, headers, body }: Answer, target: Target, isHead: boolean) {
  if (isStream({ headers })) return status === 200 ? '200: events' : undefined
  if (status === 204) return body === '' ? '204' : undefined
  if (status === 304) return body === '' && headers.etag ? '304' : undefined
  const isJson = headers['content-type']?.startsWith('application/json') ?? false
  if (status === 200) return isJson && (isHead || isReadable(body)) ? '200' : undefined
  const { error, code } = (isReadable(body) ?? {}) as { error?: unknown; code?: unknown }
  const isProblem = typeof error === 'string' && /^[a-z_]+$/.test(String(code))
  // nginx alone still speaks HTTP/0.9, which has no status.
  if (status === 0) return target === 'edge' && isReadable(body) ? 'HTTP/0.9' : undefined
  // Node's own.
  if (status === 417 && target === 'api' && !isJson) return '417 of Node'
  if (status === 400 && target === 'api' && !isJson && headers.connection === 'close') return '400 of Node'
  if (status === 501 && target === 'edge' && (isHead || code === 'not_implemented')) return '501'
  const isRefusal = status >= 400 && status < 500 && status !== 429
  return isRefusal && isJson && (isHead || isProblem) ? String(status) : undefined
}

function isReadable(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
