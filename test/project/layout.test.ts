import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import t from 'tap'

const FILES = globSync('src/**/*.ts').map((path) => ({ path, text: readFileSync(path, 'utf8') }))

t.test('files of src/ are short, and have names of their own', async (t) => {
  t.not(FILES.length, 0)
  t.same(
    FILES.filter(({ text }) => text.split('\n').length > 251).map(({ path }) => path),
    [],
    'at most 250 lines'
  )
  const names = FILES.map(({ path }) => basename(path))
  t.same(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
    'unique names'
  )
})

t.test('SQL is only in repositories and in src/postgres/', async (t) => {
  const withSql = FILES.filter(({ text }) => /\bsql`|\.unsafe\(|\bquery\([^)]*\)`/.test(text)).map(({ path }) => path)
  t.ok(withSql.some((path) => path.endsWith('.repository.ts')))
  t.same(
    withSql.filter((path) => !path.endsWith('.repository.ts') && !path.startsWith('src/postgres/')),
    []
  )
})
