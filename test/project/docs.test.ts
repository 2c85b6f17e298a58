import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import GithubSlugger from 'github-slugger'
import { marked, type Token, type Tokens } from 'marked'
import t from 'tap'
import { blocksOf, trackedFiles } from '../support/docs.ts'

const run = promisify(execFile)
const { tracked, pages } = trackedFiles()

t.test('every link leads somewhere', async (t) => {
  const headings = Object.fromEntries(pages.map((page) => [page, anchorsOf(page)]))
  for (const page of pages) {
    for (const link of linksOf(page).filter((target) => !/^[a-z]+:/.test(target))) {
      const [path = '', anchor] = link.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      t.ok(existsSync(file), `${page}: ${link}`)
      if (anchor !== undefined) t.ok(headings[file]?.has(anchor), `${page}: ${link}`)
    }
  }
})

t.test('the index has every page of docs/, and that of docs/decisions/ every decision', async (t) => {
  for (const folder of new Set(pages.map((page) => dirname(page)).filter((folder) => /^docs\b/.test(folder)))) {
    const index = join(folder, 'README.md')
    const linked = linksOf(index)
    for (const page of pages.filter((file) => dirname(file) === folder && file !== index)) {
      t.ok(linked.includes(relative(folder, page)), page)
    }
  }
  t.ok(linksOf('docs/README.md').includes('decisions/README.md'))
})

t.test('every file of this repository that a document names exists', async (t) => {
  const folders = new Set(tracked.filter((file) => file.includes('/')).map((file) => file.split('/')[0]))
  for (const page of pages.filter((page) => page !== 'CHANGELOG.md')) {
    for (const [, path = ''] of readFileSync(page, 'utf8').matchAll(/`([\w.-]+\/[\w./@-]+\.\w+)`/g)) {
      if (folders.has(path.split('/')[0])) t.ok(tracked.includes(path), `${page}: ${path}`)
    }
  }
})

t.test('every npm script that a document names exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))
  for (const page of pages) {
    const text = page === 'CHANGELOG.md' ? '' : readFileSync(page, 'utf8')
    for (const [, name = ''] of text.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g))
      t.ok(scripts[name], `${page}: ${name}`)
  }
})

t.test('a wrong setting is told as docs/CONFIGURATION.md shows it', async (t) => {
  const [command, answer] = blocksOf('docs/CONFIGURATION.md', 'Configuration')
  const failed = await run('bash', ['-c', command?.text ?? '']).catch((error) => error)
  t.equal(failed.code, 1)
  t.equal(failed.stderr, `${answer?.text}\n`)
})

/** The targets of a page's links and images. */
function linksOf(page: string): string[] {
  const links: string[] = []
  marked.walkTokens(marked.lexer(readFileSync(page, 'utf8')), (token: Token) => {
    if (token.type === 'link' || token.type === 'image') links.push((token as Tokens.Link).href)
    if (token.type === 'html')
      links.push(...[...token.raw.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, href]) => href as string))
  })
  return links
}

/** The anchors that GitHub makes of a page's headings. */
function anchorsOf(page: string): Set<string> {
  const slugger = new GithubSlugger()
  const headings = marked.lexer(readFileSync(page, 'utf8')).filter(({ type }) => type === 'heading') as Tokens.Heading[]
  return new Set(headings.map(({ text }) => slugger.slug(text.replaceAll('`', ''))))
}
