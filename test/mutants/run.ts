import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import pLimit from 'p-limit'
import { run } from '../../src/runtime/main-function.ts'
import { startSharedPostgres } from '../support/shared-postgres.ts'
import { readCoverage } from './coverage.ts'
import { apply, chooseMutants, type Mutant } from './places.ts'
import { runFile } from './test-run.ts'

const root = join(import.meta.dirname, '..', '..')
/** Seconds that a test may take: these, plus so many times what it takes without a mutation. */
const SPARE = { seconds: 60, times: 3 }
/** What a removed statement leaves unused is no type error. */
const LENIENT = ['--noUnusedLocals', 'false', '--noUnusedParameters', 'false']
/** Characters of a failure, in the table. */
const MAX_FAILURE = 80

interface TestFile {
  file: string
  seconds: number
  /** How often it runs the place. */
  timesRun: (mutant: Mutant) => number
}

/**
 * `npm run test:mutants -- [--seed 17] [--count 50] [--minutes 5] [--jobs N] [--only PLACE]`: breaks the project in so many places, one at a
 * time, and lists the breaks that nothing noticed. The type checker sees a break first. Then, for at most so many minutes, the tests that run
 * the place do, until one fails: first those whose names share most words with the file's, then those that run it most often a second. Tests
 * that need containers are left out. All of this happens in copies of the project.
 */
await run(async () => {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '17' },
      count: { type: 'string', default: '50' },
      minutes: { type: 'string', default: '5' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      only: { type: 'string', default: '' }
    }
  })
  const mutants = chooseMutants(root, Number(values.seed), Number(values.count)).filter(({ file, line }) =>
    `${file}:${line}`.includes(values.only)
  )
  const parent = mkdtempSync(join(tmpdir(), 'mutants-'))
  process.once('exit', () => rmSync(parent, { recursive: true, force: true }))
  const { url, stop } = await startSharedPostgres()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop().finally(() => process.exit(1)))
  const env = { ...process.env, TEST_DATABASE_URL: url, TEST_CONTAINERS: '', TAP_TIMEOUT: '600' }
  const trees = Array.from({ length: Number(values.jobs) }, (_, n) => copyTo(join(parent, String(n))))
  const limit = pLimit(trees.length)
  /** Acts in a copy that nothing else uses. */
  const inTree = <T>(act: (tree: string) => Promise<T>) =>
    limit(async () => {
      const tree = trees.pop() as string
      try {
        return await act(tree)
      } finally {
        trees.push(tree)
      }
    })
  try {
    const files = globSync('test/**/*.test.ts', { cwd: root })
    const tests = await Promise.all(files.map((file) => inTree((tree) => tryTest(tree, file, mutants, env))))
    const usable = tests.filter((test) => test !== undefined)
    console.log(`${usable.length} test files of ${files.length} pass; now ${mutants.length} mutants`)
    const judge = (mutant: Mutant) => inTree((tree) => judged(tree, mutant, usable, env, Number(values.minutes) * 60))
    const rows = await Promise.all(mutants.map(judge))
    console.log(['', '| place | change | noticed by |', '|---|---|---|', ...rows].join('\n'))
  } finally {
    await stop()
  }
})

function copyTo(folder: string) {
  const left = ['.git', '.tap', '.data', 'node_modules']
  cpSync(root, folder, { recursive: true, filter: (path) => !left.includes(basename(path)) })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Runs a test without any mutation. */
async function tryTest(
  tree: string,
  file: string,
  mutants: Mutant[],
  env: NodeJS.ProcessEnv
): Promise<TestFile | undefined> {
  const folder = mkdtempSync(join(tree, '..', 'coverage-'))
  const { failure, seconds } = await runFile(tree, [file], { ...env, NODE_V8_COVERAGE: folder }, 600)
  console.log(`${file}: ${seconds.toFixed()} s${failure ? `, and is left out: ${failure}` : ''}`)
  if (failure) return undefined
  const timesRun = readCoverage(folder)
  rmSync(folder, { recursive: true })
  // V8 does not see what PostgreSQL runs.
  const counts = mutants.map((mutant) => {
    return mutant.file.endsWith('.sql')
      ? timesRun(join(tree, 'src/processes/migrate.ts'), 0)
      : timesRun(join(tree, mutant.file), mutant.start)
  })
  return { file, seconds, timesRun: (mutant) => counts[mutants.indexOf(mutant)] as number }
}

/** A mutant's row of the table. */
async function judged(tree: string, mutant: Mutant, tests: TestFile[], env: NodeJS.ProcessEnv, seconds: number) {
  const path = join(tree, mutant.file)
  const source = readFileSync(path, 'utf8')
  writeFileSync(path, apply(source, mutant))
  const verdict = await judge(tree, mutant, tests, env, seconds)
  writeFileSync(path, source)
  const cell = (text: string) => text.replaceAll('|', '\\|')
  const row = `| ${mutant.file}:${mutant.line} | \`${cell(mutant.before)}\` → \`${cell(mutant.after)}\` | ${cell(verdict)} |`
  console.log(row)
  return row
}

async function judge(tree: string, mutant: Mutant, tests: TestFile[], env: NodeJS.ProcessEnv, seconds: number) {
  if (mutant.file.endsWith('.ts')) {
    const { failure } = await runFile(tree, ['node_modules/typescript/bin/tsc', ...LENIENT], env, 300)
    if (failure) return `the type checker`
  }
  const words = wordsOf(mutant.file)
  const inCommon = ({ file }: TestFile) => wordsOf(file).filter((word) => words.includes(word)).length
  const order = tests
    .filter(({ timesRun }) => timesRun(mutant) > 0)
    .sort((a, b) => inCommon(b) - inCommon(a) || b.timesRun(mutant) / b.seconds - a.timesRun(mutant) / a.seconds)
  const end = Date.now() + seconds * 1000
  let tried = 0
  for (const test of order) {
    if (Date.now() > end) break
    const tryIt = () => runFile(tree, [test.file], env, SPARE.seconds + SPARE.times * test.seconds)
    const { failure } = await tryIt()
    // Twice, since on a busy machine a test may fail by itself.
    if (failure && (await tryIt()).failure) return `${test.file}: ${failure.slice(0, MAX_FAILURE)}`
    tried++
  }
  return `**nobody** (${tried} of ${order.length} test files that run it)`
}

function wordsOf(file: string) {
  return basename(file).split(/[-.]/)
}
