import { existsSync, readFileSync } from 'node:fs'
import { marked, type Token, type Tokens } from 'marked'
import t from 'tap'

const FILE = 'SECURITY.md'
/** Sections without promises: they say what was measured, is not defended against, or has to be done. */
const WITHOUT_PROMISES = [
  'Security',
  'What is not defended against',
  'Malformed requests',
  'TLS and slow callers',
  'Faults',
  'Report a vulnerability',
  'Tests'
]

const REFERENCE = /\[\^([\w-]+)\]/g
const DEFINITION = /^\[\^([\w-]+)\]: (.*)$/gm

/** The names of tests in one file. */
const TESTS = /(test\/\S+\.ts) (`[^`]+`(?:, `[^`]+`)*)/g
const LIST = new RegExp(`^${TESTS.source}(; ${TESTS.source})*\\.$`)

/** The names of the tests in a file, as written: `${…}` is not filled in. */
function testsIn(file: string): string[] {
  if (!existsSync(file)) return []
  const calls = readFileSync(file, 'utf8').matchAll(/\btest\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gs)
  return [...calls].map(([, , name = '']) => name.replaceAll(/\\(.)/g, '$1'))
}

/** What is wrong with a page: promises without tests, and tests that do not exist. */
function findFaults(text: string): string[] {
  const faults: string[] = []
  const definitions = new Map([...text.matchAll(DEFINITION)].map(([, name, tests]) => [name as string, String(tests)]))
  for (const [name, tests] of definitions) {
    if (!LIST.test(tests)) faults.push(`[^${name}] is no list of tests`)
    for (const [, file = '', names = ''] of tests.matchAll(TESTS)) {
      const known = testsIn(file)
      for (const [, test = ''] of names.matchAll(/`([^`]+)`/g)) {
        if (!known.includes(test)) faults.push(`[^${name}]: ${file} has no test "${test}"`)
      }
    }
  }
  const body = text.replaceAll(DEFINITION, '')
  const used = new Set([...body.matchAll(REFERENCE)].map(([, name]) => name as string))
  for (const name of used) if (!definitions.has(name)) faults.push(`[^${name}] is not defined`)
  for (const name of definitions.keys()) if (!used.has(name)) faults.push(`[^${name}] is not used`)
  let section = ''
  for (const token of marked.lexer(body)) {
    if (token.type === 'heading') section = token.text
    else if (!WITHOUT_PROMISES.includes(section)) {
      for (const part of partsOf(token)) if (!/\[\^[\w-]+\]$/.test(part)) faults.push(`no test: ${part}`)
    }
  }
  return faults
}

/** The parts of a page that have to end with a reference: paragraphs, list items, and a table or each of its rows. */
function partsOf(token: Token): string[] {
  if (token.type === 'paragraph') return [token.text]
  if (token.type === 'list') return (token as Tokens.List).items.flatMap(({ tokens }) => tokens.flatMap(partsOf))
  if (token.type === 'text') return [(token as Tokens.Text).text]
  if (token.type !== 'table') return []
  const { header, rows } = token as Tokens.Table
  const last = (cells: Tokens.TableCell[]) => String(cells.at(-1)?.text)
  return REFERENCE.test(last(header)) ? [] : rows.map(last)
}

t.test('every promise of SECURITY.md names tests that exist', async (t) => {
  t.same(findFaults(readFileSync(FILE, 'utf8')), [])
})

t.test('a promise without a test, or with one that is gone, is found', async (t) => {
  const page = (
    body: string,
    definition = 'test/project/promises.test.ts `a promise without a test, or with one that is gone, is found`.'
  ) => findFaults(`# Security\n\nx\n\n## Promises\n\n${body}\n\n## Tests\n\n[^a]: ${definition}\n`)
  t.same(page('One. Two.[^a]\n\n- One.[^a]\n  - Two.[^a]\n\n| a | b |\n|-|-|\n| one | two[^a] |'), [])
  t.same(page('One.[^a]\n\n| a | b[^a] |\n|-|-|\n| one | two |'), [])
  t.same(page('One.[^a] Two.'), ['no test: One.[^a] Two.'])
  t.same(page('- One.[^a]\n- Two.'), ['no test: Two.'])
  t.same(page('- One.\n  - Two.[^a]'), ['no test: One.'])
  t.same(page('One.[^a]\n\n| a | b |\n|-|-|\n| one | two |'), ['no test: two'])
  t.same(page('One.[^b]'), ['[^b] is not defined', '[^a] is not used'])
  t.same(page('One.[^a]', 'test/project/promises.test.ts `gone`.'), [
    '[^a]: test/project/promises.test.ts has no test "gone"'
  ])
  t.same(page('One.[^a]', 'test/gone.test.ts `one`.'), ['[^a]: test/gone.test.ts has no test "one"'])
  t.same(page('One.[^a]', 'somewhere'), ['[^a] is no list of tests'])
})
