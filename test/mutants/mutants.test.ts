import { join } from 'node:path'
import t from 'tap'
import { readCoverage } from './coverage.ts'
import { type Mutation, mutationsOf, sqlMutations } from './mutations.ts'
import { apply, chooseMutants } from './places.ts'
import { runFile } from './test-run.ts'

const root = join(import.meta.dirname, '..', '..')
const mutated = (source: string, mutations: Mutation[]) => mutations.map((mutation) => apply(source, mutation)).sort()

t.test('mutations of TypeScript invert conditions, multiply limits, and remove statements and guards', async (t) => {
  for (const [source, ...expected] of [
    ['const a: boolean = b < (c as number)', 'const a: boolean = b >= (c as number)'],
    ['const a = b && !c', 'const a = b && c', 'const a = b || !c'],
    ['const a = b?.c ? 1 : 0', 'const a = !b?.c ? 1 : 0'],
    ['const é: string = a === "é"', 'const é: string = a !== "é"'],
    ['const LIMIT = 10_000', 'const LIMIT = 100000'],
    ['a<B>(1)', ';'],
    ['"use strict"'],
    ['function f() { if (a) return }', 'function f() { ; }', 'function f() { if (!a) return }'],
    ['if (a) { b++ } else c()', 'if (!a) { b++ } else c()', 'if (a) { ; } else c()', 'if (a) { b++ } else ;']
  ] as [string, ...string[]][]) {
    t.same(mutated(source, mutationsOf(source)), expected.sort(), source)
  }
})

t.test('mutations of SQL invert comparisons and remove conditions', async (t) => {
  for (const [source, ...expected] of [
    ['select a where b <= now()', 'select a where b > now()', 'select a where true '],
    ['(select a where b and (c or d)) e', '(select a where true and (c or d)) e', '(select a where b ) e'],
    ['where a is null order by b', 'where a is not null order by b', 'where true order by b'],
    ['select a ->> b, c between 1 and 2 -- and where < 3'],
    ["select '<' || a"]
  ] as [string, ...string[]][]) {
    t.same(mutated(source, sqlMutations(source)), expected.sort(), source)
  }
  const withValues = (code: string) => code.replaceAll('@', '$')
  const source = withValues('const x = sql`select a from (@{sql`select b where c > @{d}`}) e where f = @{g}`')
  t.same(
    mutated(source, mutationsOf(source)),
    [
      'const x = sql`select a from (@{sql`select b where c <= @{d}`}) e where f = @{g}`',
      'const x = sql`select a from (@{sql`select b where c > @{d}`}) e where true `',
      'const x = sql`select a from (@{sql`select b where true `}) e where f = @{g}`'
    ].map(withValues)
  )
  t.same(mutationsOf('const x = html`a < b`'), [], 'no other templates')
})

t.test('a seed chooses mutants of every kind, and only of current SQL', async (t) => {
  const chosen = chooseMutants(root, 17, 40)
  t.same(chosen, chooseMutants(root, 17, 40))
  t.strictNotSame(chosen, chooseMutants(root, 18, 40))
  t.same(new Set(chosen.map(({ kind }) => kind)), new Set(['condition', 'limit', 'statement', 'sql']))
  const all = chooseMutants(root, 17, Number.POSITIVE_INFINITY)
  const inSql = all.filter(({ file }) => file.endsWith('.sql')).map(({ before }) => before)
  t.ok(inSql.includes("when not_before > at + interval '5 minutes' then 'not_yet_valid'"))
  t.notOk(
    inSql.some((line) => line.includes('from broadcasts where client_id = old.id')),
    'replaced by a later migration'
  )
})

t.test('a test run tells what it covered and whether it failed', async (t) => {
  const folder = t.testdir({
    coverage: {},
    'a.mjs': 'if (process.env.A) console.log(1)\nelse console.log(2)\n',
    'b.mjs': 'console.log("not ok 1 - b # SKIP\\n    not ok 2 - c\\nnot ok 3 - d"); process.exitCode = 1\n',
    'c.mjs': 'setInterval(() => {}, 1000)\n'
  })
  const coverage = join(folder, 'coverage')
  t.match(await runFile(folder, ['a.mjs'], { NODE_V8_COVERAGE: coverage }, 60), { failure: undefined })
  const timesRun = readCoverage(coverage)
  t.equal(timesRun(join(folder, 'a.mjs'), 20), 0)
  t.equal(timesRun(join(folder, 'a.mjs'), 40), 1)
  t.equal(timesRun(join(folder, 'b.mjs'), 0), 0)
  t.match(await runFile(folder, ['b.mjs'], {}, 60), { failure: 'c' })
  t.match(await runFile(folder, ['c.mjs'], {}, 1), { failure: 'not done after 1 s' })
})
