import { execFile, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { follow } from '../../support/process.ts'
import { ANNOUNCED, HOST, startTracker } from '../helper.ts'

const ROOT = join(import.meta.dirname, '../../..')
/** Milliseconds for one program. */
const TIMEOUT = 300_000

t.test('two peers with the packed library meet, whatever runs them', async (t) => {
  // Outside of the project, so that nothing of its node_modules is found.
  const dir = mkdtempSync(join(tmpdir(), 'relay-peer-test-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const app = join(dir, 'app')
  const bundles = join(dir, 'bundles')
  cpSync(import.meta.dirname, app, { recursive: true })
  mkdirSync(bundles)

  // Without the options that tap adds for Node.js; with all that this machine's npm needs.
  const run = (cwd: string, file: string, args: string[], env: NodeJS.ProcessEnv = {}) =>
    promisify(execFile)('env', ['-u', 'NODE_OPTIONS', file, ...args], {
      cwd,
      timeout: TIMEOUT,
      env: { ...process.env, NO_COLOR: '1', ...env }
    })
  const npm = (cwd: string, ...args: string[]) =>
    run(cwd, 'npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'])
  const packed = await npm(join(ROOT, 'peer'), 'pack', '--silent', '--pack-destination', app)
  await npm(app, 'ci')
  await npm(app, 'install', '--no-save', packed.stdout.trim().split('\n').at(-1) as string)

  const installed = (path: string) => join(app, 'node_modules', path)
  const esbuild = (program: string, format: string) =>
    run(app, installed('.bin/esbuild'), [
      program,
      '--bundle',
      '--platform=node',
      `--format=${format}`,
      `--outfile=${join(bundles, format, program)}`
    ])
  await esbuild('program.mjs', 'esm')
  await esbuild('program.cjs', 'cjs')
  await run(app, installed('.bin/vite'), ['build', '--logLevel', 'error'])

  const tracker = await startTracker(t)

  const node22 = installed('node22/bin/node')
  const permissions = ['net', 'read', 'write', 'env', 'sys=networkInterfaces'].map((name) => `--allow-${name}`)
  const deno = ['run', '--no-prompt', ...permissions]
  const programs: [name: string, cwd: string, file: string, args: string[]][] = [
    ['Node.js 24', app, process.execPath, ['program.mjs']],
    ['Node.js 24 with require', app, process.execPath, ['program.cjs']],
    ['Node.js 22', app, node22, ['program.mjs']],
    ['Node.js 22 with require', app, node22, ['program.cjs']],
    ['Bun', app, installed('.bin/bun'), ['program.mjs']],
    ['Bun with require', app, installed('.bin/bun'), ['program.cjs']],
    ['Deno', app, installed('.bin/deno'), [...deno, 'program.mjs']],
    ['Deno with require', app, installed('.bin/deno'), [...deno, 'program.cjs']],
    ['an ES module by esbuild', bundles, node22, ['esm/program.mjs']],
    ['CommonJS by esbuild', bundles, node22, ['cjs/program.cjs']],
    ['a bundle by Vite', bundles, node22, ['vite/program.mjs']]
  ]
  for (const [index, [name, cwd, file, args]] of programs.entries()) {
    const skip = !process.env.CI && !existsSync(file) && 'npm has no binary of it for this platform'
    await t.test(name, { skip }, async (t) => {
      const { stdout } = await run(cwd, file, args, {
        TRACKER: tracker.origin,
        CA: tracker.ca,
        DIR: join(dir, 'peers', `${index}`),
        DOMAIN: `runtime-${index}.example.com`
      })
      t.match(stdout, /^done$/m)
    })
  }

  await t.test('the first example of the README', async (t) => {
    const readme = readFileSync(join(ROOT, 'peer/README.md'), 'utf8')
    const [, example] = /```js\n(.*?)```/s.exec(readme) as unknown as [string, string]
    const ca = join(app, 'ca.crt')
    writeFileSync(join(app, 'peer.mjs'), example)
    writeFileSync(ca, tracker.ca)
    // It announces this machine's addresses, and a machine may have none.
    await tracker.sql.unsafe(`
      create or replace function to_this_machine() returns trigger language plpgsql as $$
        begin new.addresses = array['${HOST}'::inet]; return new; end $$`)
    const env = { ...process.env, NODE_OPTIONS: '', TRACKER: tracker.origin, CA: ca }
    const alice = follow(spawn(node22, ['peer.mjs', 'alice'], { cwd: app, env }))
    t.teardown(async () => {
      alice.child.kill()
      await alice.ended
    })
    await alice.printed('online')
    const bob = await follow(spawn(node22, ['peer.mjs', 'bob', 'alice'], { cwd: app, env })).ended
    t.match(bob, { code: 0, output: /^hello bob@example.com, this is alice$/m })
  })

  await t.test('the desktop example, installed as an application, in Node.js 22', async (t) => {
    const copy = { recursive: true, filter: (file: string) => !file.includes('node_modules') }
    cpSync(join(ROOT, 'examples/desktop'), join(app, 'desktop'), copy)
    const ca = join(app, 'desktop-ca.crt')
    writeFileSync(ca, tracker.ca)
    const identity = ['--email', 'dave@example.com', '--dir', 'dave', '--address', ANNOUNCED]
    const args = ['desktop/chat.js', '--tracker', tracker.origin, '--ca', ca, ...identity]
    const chat = follow(spawn(node22, args, { cwd: app, env: { ...process.env, NODE_OPTIONS: '' } }))
    t.teardown(async () => {
      chat.child.kill('SIGKILL')
      await chat.ended
    })
    await chat.printed('Ctrl-C ends.')
    t.match(await (await fetch(`${/http:\S+/.exec(chat.output())}page.js`)).text(), 'new EventSource')
    chat.child.kill('SIGINT')
    t.match(await chat.ended, { code: 0 })
  })

  await t.test('every example of the README is plain JavaScript that Node.js 22 can parse', async (t) => {
    const readme = readFileSync(join(ROOT, 'peer/README.md'), 'utf8')
    for (const [, example] of readme.matchAll(/```js\n(.*?)```/gs) as unknown as [string, string][]) {
      const file = join(app, 'example.mjs')
      writeFileSync(file, example)
      await t.resolves(run(app, node22, ['--check', file]), String(example.split('\n', 1)))
    }
  })
})
