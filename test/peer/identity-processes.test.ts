import { randomInt } from 'node:crypto'
import { readdirSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readCredentials } from '../../peer/src/identity/credentials.ts'
import { Identity } from '../../peer/src/identity/identity.ts'
import { runInShell } from '../support/command.ts'
import { start } from '../support/process.ts'

const PROGRAM = 'test/peer/identity-process.ts'
const ALICE = 'alice@example.com'
const settings = { tracker: 'https://relay.example.com', email: ALICE }

function run(t: Test, dir: string, act: string, email = ALICE) {
  return start(t, PROGRAM, { args: [act, dir, email], cwd: dirname(dir) })
}

async function outputs(processes: ReturnType<typeof run>[]) {
  return (await Promise.all(processes.map(({ ended }) => ended))).map(({ output }) => output.trim())
}

t.test('ten first starts at once end with the same key', async (t) => {
  const dir = join(t.testdir({}), 'alice')
  const fingerprints = await outputs(Array.from({ length: 10 }, () => run(t, dir, 'start')))
  t.same([...new Set(fingerprints)], [Identity.load(dir).credentials.fingerprint])
  t.same(readdirSync(dir).sort(), ['identity.pem', 'settings.json'])
})

t.test('first starts with different e-mail addresses have one winner', async (t) => {
  const dir = join(t.testdir({}), 'peer')
  const processes = Array.from({ length: 8 }, (_, n) => run(t, dir, 'start', `${'ab'[n % 2]}@example.com`))
  const results = await outputs(processes)
  const { credentials, settings, isRegistered } = Identity.load(dir)
  const losers = new Set(results.filter((result) => result !== credentials.fingerprint))
  // What a loser is told depends on how far the winner has come.
  for (const code of ['other_identity', 'no_identity', 'identity_damaged']) losers.delete(code)
  t.same([...losers], [], 'nobody registers a key that is not there any more')
  t.ok(results.includes(credentials.fingerprint))
  t.ok(isRegistered)
  t.match(settings.email, /^[ab]@/)
})

t.test('processes that begin a rotation at once have the same next key', async (t) => {
  const dir = join(t.testdir({}), 'alice')
  await Identity.open(dir, settings)
  const next = await outputs(Array.from({ length: 5 }, () => run(t, dir, 'rotate')))
  t.same([...new Set(next)], [Identity.load(dir).next()?.fingerprint])
})

t.test('whenever a process is killed, the identity is intact, and nothing secret stays', async (t) => {
  for (let round = 0; round < 6; round++) {
    const dir = t.testdir({})
    const { child, ended, printed, output } = run(t, dir, 'wear')
    await printed('\n')
    await setTimeout(randomInt(100))
    child.kill('SIGKILL')
    await ended
    const last = join(dir, String(output().trim().split('\n').length))
    const [before] = ['identity.pem', 'unregistered.pem'].flatMap((file) => readCredentials(join(last, file)) ?? [])
    const identity = await Identity.open(last, settings)
    if (before) t.equal(identity.credentials.fingerprint, before.fingerprint)
    for (const file of readdirSync(last)) utimesSync(join(last, file), 0, 0)
    Identity.load(last)
    t.same(
      readdirSync(last).filter((file) => file.startsWith('.')),
      [],
      'the next start deletes what was half-written'
    )
    identity.claim()
    const next = await identity.makeNext()
    t.equal(identity.promote(next).fingerprint, next.fingerprint)
  }
})

t.test('a disk that is full, or is not ours, loses nothing', async (t) => {
  const dir = t.testdir({})
  const place = { cwd: dir, env: {} }
  const full = (line: string) => runInShell(t, PROGRAM, `(ulimit -f 0; ${line})`, place)
  t.match(await full(`command start alice ${ALICE}`), { stdout: 'identity_not_saved\n' })
  t.same(readdirSync(join(dir, 'alice')), [], 'and leaves nothing half-written')
  const { credentials } = await Identity.open(join(dir, 'alice'), settings)
  t.match(await full('command rotate alice'), { stdout: 'identity_not_saved\n' })
  t.equal(Identity.load(join(dir, 'alice')).credentials.fingerprint, credentials.fingerprint)
  t.match(
    await full(`command start alice ${ALICE}`),
    { stdout: `${credentials.fingerprint}\n` },
    'starting needs no room'
  )
})
