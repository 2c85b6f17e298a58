import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { startApi } from '../support/api.ts'
import { FILE } from '../support/openapi.ts'
import { createPeer } from '../support/peers.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Makes calls with a peer's own certificate, for both clients. */
const FETCH = `
import { readFileSync } from 'node:fs'
import { Agent } from 'undici'

export const [url, aliceEmail, aliceCertificate] = [process.argv[2]!, 'alice@example.com', read('alice.crt')]

export function fetchAs(name: string): typeof fetch {
  const dispatcher = new Agent({ connect: { ca: read('ca.crt'), cert: read(name + '.crt'), key: read(name + '.key') } })
  return (request) => fetch(request, { dispatcher } as RequestInit)
}

function read(file: string) {
  return readFileSync(file, 'utf8')
}
`

const OPENAPI_FETCH = `
import createClient from 'openapi-fetch'
import { aliceCertificate, aliceEmail, fetchAs, url } from './fetch.ts'
import type { components, paths } from './tracker.ts'

const [alice, bob] = ['alice', 'bob'].map((name) => createClient<paths>({ baseUrl: url, fetch: fetchAs(name) })) as [Client, Client]
type Client = ReturnType<typeof createClient<paths>>

const registered = await alice.POST('/register', { body: { email: aliceEmail, certificate: aliceCertificate } })
const online = await alice.POST('/broadcast/ready', { body: { port: 54321, addresses: ['192.168.1.20'] } })
const list = await bob.GET('/broadcast/list', { params: { query: { limit: 1 } } })
const peers: components['schemas']['Broadcast'][] = list.data!
const nobody = await bob.GET('/broadcast/lookup', { params: { query: { email: 'nobody@example.com' } } })
if (nobody.error?.code === 'peer_not_found') console.log(registered.data?.client_id, online.data?.expires_in, peers[0]?.port)

// @ts-expect-error a limit is an integer
export const wrong = () => bob.GET('/broadcast/list', { params: { query: { limit: '1' } } })
`

const HEY_API = `
import { createClient } from './tracker/client/index.ts'
import { type Broadcast, announce, list, lookup, register } from './tracker/index.ts'
import { aliceCertificate, aliceEmail, fetchAs, url } from './fetch.ts'

const [alice, bob] = ['alice', 'bob'].map((name) => createClient({ baseUrl: url, fetch: fetchAs(name) })) as [Client, Client]
type Client = ReturnType<typeof createClient>

const body = { email: aliceEmail, certificate: aliceCertificate }
const again = await register({ client: alice, body })
const online = await announce({ client: alice, body: { port: 54321, addresses: ['192.168.1.20'] }, throwOnError: true })
const { data } = await list({ client: bob, query: { limit: 1 }, throwOnError: true })
const peers: Broadcast[] = data
const nobody = await lookup({ client: bob, query: { email: 'nobody@example.com' } })
if (nobody.error?.code === 'peer_not_found') console.log(again.error?.code, online.data.expires_in, peers[0]?.port)

// @ts-expect-error a limit is an integer
export const wrong = () => list({ client: bob, query: { limit: '1' } })
// @ts-expect-error an e-mail address is a string
export const wrongToo = () => lookup({ client: bob, query: { email: 1 } })
`

/** Node.js runs TypeScript whose imports name its files. */
const CONFIG = `export default { input: '${FILE}', output: { path: 'tracker', module: { extension: '.ts' } } }`

t.test('code generators read openapi.json without a warning, and what they make can call a tracker', async (t) => {
  const { write, run } = await install(t)
  const bob = await createPeer('bob')
  const { origin, relay, authority } = await startTlsApi(t)
  t.match(await relay.register(bob), { status: 200 })
  write({ 'fetch.ts': FETCH, 'ca.crt': authority })
  for (const [name, { certificate, privateKey }] of Object.entries({ alice: await createPeer('alice'), bob })) {
    write({ [`${name}.crt`]: certificate, [`${name}.key`]: privateKey })
  }
  /** What a program prints, once the type checker has accepted it and what it imports. */
  const use = async (program: string, text: string) => {
    write({ [program]: text })
    const strict = ['--strict', '--noUncheckedIndexedAccess', '--erasableSyntaxOnly', '--noEmit']
    const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
    const modules = ['--module', 'nodenext', '--target', 'es2024', '--allowImportingTsExtensions']
    await run(join(ROOT, 'node_modules/.bin/tsc'), ...strict, ...types, ...modules, program)
    return run(process.execPath, program, `${origin}/api/relay`)
  }

  const types = await run('node_modules/.bin/openapi-typescript', FILE, '--output', 'tracker.ts')
  t.match(types, /^✨ openapi-typescript [\d.]+\n🚀 \S+ → \S*tracker\.ts \[\S+\]\n+$/)
  t.match(await use('openapi-fetch.ts', OPENAPI_FETCH), /^[0-9a-f-]{36} 3600 54321\n$/)

  write({ 'openapi-ts.config.js': CONFIG })
  const functions = await run('node_modules/.bin/openapi-ts')
  t.match(functions, /Done!/)
  t.notMatch(functions, /warn|error|⚠|❌/i)
  t.equal(await use('hey-api.ts', HEY_API), 'already_registered 3600 54321\n')
})

/** A folder outside of the project with the generators, whose commands print to one string. */
async function install(t: Test) {
  const dir = mkdtempSync(join(tmpdir(), 'relay-generators-test-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  cpSync(join(import.meta.dirname, 'generators'), dir, { recursive: true })
  const run = async (file: string, ...args: string[]) => {
    // Without the options that tap adds for Node.js, wherever it is started.
    const running = promisify(execFile)('env', ['-u', 'NODE_OPTIONS', file, ...args], { cwd: dir, timeout: 120_000 })
    const { stdout, stderr } = await running.catch((error) => {
      throw new Error(`${file} ${args.join(' ')}:\n${error.stdout}${error.stderr}`)
    })
    return stdout + stderr
  }
  await run('npm', 'ci', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error')
  const write = (files: Record<string, string>) => {
    for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text)
  }
  return { write, run }
}

async function startTlsApi(t: Test) {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['127.0.0.1'] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
  return { ...(await startApi(t, { env })), authority: certificate }
}
