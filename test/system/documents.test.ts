import { execFile, spawn } from 'node:child_process'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { freePort } from '../../src/runtime/listen-port.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { blocksOf, shellCommands, trackedFiles } from '../support/docs.ts'
import { follow } from '../support/process.ts'

const run = promisify(execFile)
const { tracked, pages } = trackedFiles()
const root = resolve(import.meta.dirname, '../..')

t.test('docker compose knows every command and option in the documents', { skip: skipWithoutContainers }, async (t) => {
  const shown = pages.flatMap(shellCommands).flatMap((command) => command.match(/\bdocker compose [^|>&)]+/)?.[0] ?? [])
  t.not(shown.length, 0)
  await run('docker', ['compose', 'config', '--quiet'])
  const help = new Map<string, string>()
  for (const command of new Set(shown)) {
    const [verb = '', ...words] = command
      .replace(/ --profile \w+/, '')
      .split(' ')
      .slice(2)
    if (!help.has(verb)) help.set(verb, (await run('docker', ['compose', verb, '--help'])).stdout)
    // Options after the service's name are the container's.
    const options = ['exec', 'run'].includes(verb)
      ? words.slice(
          0,
          words.findIndex((word) => !word.startsWith('-'))
        )
      : words
    for (const option of options.filter((word) => word.startsWith('-'))) {
      t.match(help.get(verb), new RegExp(`(^|[ ,])${option.split('=')[0]}\\b`, 'm'), command)
    }
  }
})

t.test('a reader of README.md and docs/PEERS.md gets from a clone to a peer that is found', async (t) => {
  const dir = cloneOf(t)
  const PORT = String(await freePort('127.0.0.1'))
  const shell = (text: string, env: NodeJS.ProcessEnv = {}) => startShell(t, dir, text.replaceAll('8443', PORT), env)
  const [install] = blocksOf('README.md', 'Run it')
  // The first half made node_modules here.
  const tracker = shell(`exec ${install?.text.replace('npm ci && ', '')}`, {
    PORT,
    INTERNAL_PORT: '0',
    LOG_LEVEL: 'warn'
  })
  await tracker.printed('Relay Tracker is ready')

  const blocks = [
    ...blocksOf('README.md', 'The first minute'),
    ...blocksOf('docs/PEERS.md', 'Registration'),
    ...blocksOf('docs/PEERS.md', 'The list')
  ]
  // One shell keeps the variables; marks separate what the blocks print.
  const mark = '--- the next block ---'
  const script = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  const { code, output } = await shell(`set -e\n${script.join(`\necho; echo "${mark}"\n`)}`).ended
  t.equal(code, 0, output)
  const printed = output.split(mark)
  for (const [index, { text, language }] of blocks.entries()) {
    if (language === 'sh') continue
    const ran = blocks.slice(0, index).filter((one) => one.language === 'sh').length
    t.equal(shapeOf(bodiesIn(printed[ran - 1] ?? '')), shapeOf(text), `what block ${ran} prints`)
  }

  const prepare = script.find((text) => text.includes('relay=')) as string
  const [, fingerprint] = output.match(/"fingerprint":"([^"]+)"/) as RegExpMatchArray
  const compare = readFileSync('docs/PEERS.md', 'utf8').match(/`(openssl x509 [^`]+)`/)?.[1] as string
  t.equal((await shell(compare).ended).output, fingerprint, 'the fingerprint to compare with')
  const [events] = blocksOf('docs/PEERS.md', 'Events')
  const watching = shell(`${prepare}\nexec ${events?.text}`)
  await watching.printed('event: list')

  await watching.interrupt()
  t.match(await tracker.interrupt(), { signal: 'SIGINT' }, 'npm passes it on, waits, and ends likewise')
})

t.test('each process starts with the command in docs/DEPLOYMENT.md', async (t) => {
  const dir = cloneOf(t)
  const { url } = await createDatabase(t)
  const ports = { PORT: '0', INTERNAL_PORT: '0', CLEANUP_PORT: '0', MAILER_PORT: '0' }
  const [block] = blocksOf('docs/DEPLOYMENT.md', 'Each process by itself')
  const commands = (block?.text.match(/npm run [\w-]+( -- --[\w-]+( \d+)?)?/g) ?? []) as string[]
  t.ok(commands.length > 5)
  for (const command of commands) {
    const process = startShell(t, dir, `exec ${command}`, { DATABASE_URL: url, ...ports })
    if (/npm run (api|cleanup|mailer)\s*$/.test(command)) {
      await process.printed('Server listening at')
      t.match(await process.interrupt(), { signal: 'SIGINT' }, command)
    } else t.match(await process.ended, { code: 0 }, command)
  }
})

/** A copy of the repository's files, with the packages that are installed here. */
function cloneOf(t: Test): string {
  const dir = t.testdir({})
  for (const file of tracked.filter((name) => !/^(bench|docs|test)\//.test(name))) {
    cpSync(join(root, file), join(dir, file))
  }
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
  return dir
}

/** A shell as a reader has it, with no settings but `env`. */
function startShell(t: Test, cwd: string, text: string, env: NodeJS.ProcessEnv) {
  const { PATH } = process.env
  // Without a terminal, curl prints its progress.
  writeFileSync(join(cwd, '.curlrc'), 'silent\nshow-error\n')
  // A process group of its own, since all that npm starts has to end.
  const child = spawn('bash', ['-c', text], { cwd, env: { PATH, HOME: cwd, ...env }, detached: true })
  const running = follow(child)
  /** Interrupts the whole group, as Ctrl-C on a terminal does. */
  const interrupt = () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGINT')
    return running.ended
  }
  t.teardown(interrupt)
  return { ...running, interrupt }
}

/** The JSON in a program's output. */
function bodiesIn(output: string): string {
  return output
    .split(/(?=\{"|\[\{)/)
    .slice(1)
    .join('')
}

/** The same text for answers that differ only in what is new each time. */
function shapeOf(text: string): string {
  return text
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '<id>')
    .replaceAll(/"[\w-]{43}"/g, '"<fingerprint>"')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/\s+/g, '')
}
