import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')

const USE = `
import { type Caller, type Change, PeerError, RelayPeer, TrackerError } from 'relay-tracker/peer'

const peer: RelayPeer = await RelayPeer.open({ dir: 'alice', tracker: 'https://127.0.0.1:1', email: 'alice@example.com' })
peer.on('connection', (socket, caller: Caller) => socket.end(caller.email))
const fingerprint: string = peer.credentials.fingerprint
// @ts-expect-error it is a string
const wrong: number = peer.email
export async function watch() {
  for await (const change of peer.watch()) if (change.type === 'offline') return change.email
  return (undefined as Change | undefined)?.type
}
try {
  await peer.list()
} catch (error) {
  if (error instanceof TrackerError && !(error instanceof PeerError)) console.log(error.code, fingerprint.length, wrong)
}
await peer.close()
`

/** It fails to compile if the types for `require` lack anything that `import` has. */
const USE_COMMONJS = `
import { type Broadcast, PeerError, RelayPeer, TrackerError } from 'relay-tracker/peer'
import type * as imported from 'relay-tracker/peer' with { 'resolution-mode': 'import' }
import required = require('relay-tracker/peer')

const all: typeof imported = required
export const same = (peer: RelayPeer, error: PeerError | TrackerError): [imported.RelayPeer, Error] => [peer, error]
export const call = (peer: RelayPeer, callee: Broadcast) => peer.connect(callee.email)
// @ts-expect-error it is a promise
export const wrong: RelayPeer = RelayPeer.open({ dir: 'alice' })
import('relay-tracker/peer').then((esm) => console.log(esm.RelayPeer === all.RelayPeer))
`

t.test('an application that installs the package has the library, its types, and the command', async (t) => {
  // Outside of the project, so that nothing of its node_modules is found.
  const dir = mkdtempSync(join(tmpdir(), 'relay-peer-test-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  // Without the options that tap adds for Node.js, wherever it is started; with all that this machine's npm needs.
  const run = (cwd: string, file: string, ...args: string[]) =>
    promisify(execFile)('env', ['-u', 'NODE_OPTIONS', file, ...args], { cwd, timeout: 60_000 })
  const npm = (cwd: string, ...args: string[]) =>
    run(cwd, 'npm', ...args, '--no-audit', '--no-fund', '--loglevel=error')

  const packed = await npm(join(ROOT, 'peer'), 'pack', '--json', '--pack-destination', dir)
  const [{ filename, files, version }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[')))
  const paths = files.map(({ path }: { path: string }) => path)
  for (const path of [
    'package.json',
    'README.md',
    'REFERENCE.md',
    'LICENSE',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/command/main.js',
    'require.d.cts'
  ]) {
    t.ok(paths.includes(path), path)
  }
  t.same(
    paths.filter(
      (path: string) =>
        !/^(dist\/.*\.(js|d\.ts)|require\.d\.cts|package\.json|README\.md|REFERENCE\.md|LICENSE)$/.test(path)
    ),
    []
  )

  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(dir, 'use.ts'), USE)
  writeFileSync(join(dir, 'use-commonjs.cts'), USE_COMMONJS)
  await npm(dir, 'install', '--prefer-offline', '--ignore-scripts', filename)
  const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
  const options = ['--strict', '--target', 'es2024', '--outDir', 'built', ...types]
  const compile = (...args: string[]) => run(dir, join(ROOT, 'node_modules/.bin/tsc'), ...options, ...args)
  await compile('--module', 'esnext', '--moduleResolution', 'bundler', 'use.ts')
  for (const module of ['node16', 'nodenext']) await compile('--module', module, 'use.ts', 'use-commonjs.cts')
  const { stdout } = await run(dir, process.execPath, 'built/use.js')
  t.equal(stdout, 'tracker_unreachable 43 alice@example.com\n')
  t.equal((await run(dir, process.execPath, 'built/use-commonjs.cjs')).stdout, 'true\n')

  const command = join(dir, 'node_modules/.bin/relay-peer')
  t.equal((await run(dir, command, '--version')).stdout, `${version}\n`)
  t.match((await run(dir, command, '--help')).stdout, 'Exit codes:')
  const failure = await run(dir, command, 'list', '--dir', 'alice').catch((error) => error)
  t.match(failure, { code: 5, stderr: /cannot be reached/ })
})
