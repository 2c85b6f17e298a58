import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { marked, type Tokens } from 'marked'

/** The files of this repository, and the documents among them. */
export function trackedFiles() {
  const tracked = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).trim().split('\n')
  return { tracked, pages: tracked.filter((file) => file.endsWith('.md')) }
}

export interface Block {
  /** The word after the fence: `sh`, `json`, … */
  language: string
  text: string
  /** The headings above it, from the outermost. */
  section: string[]
}

/** The fenced blocks of a page, in order. */
export function codeBlocks(file: string): Block[] {
  const section: string[] = []
  const blocks: Block[] = []
  for (const token of marked.lexer(readFileSync(file, 'utf8'))) {
    if (token.type === 'heading') section.splice(token.depth - 1, section.length, token.text)
    if (token.type === 'code') {
      const { lang = '', text } = token as Tokens.Code
      blocks.push({ language: lang, text, section: [...section] })
    }
  }
  return blocks
}

/** The fenced blocks under a heading. */
export function blocksOf(file: string, heading: string): Block[] {
  const blocks = codeBlocks(file).filter(({ section }) => section.includes(heading))
  if (blocks.length === 0) throw new Error(`${file} has nothing to run under "${heading}"`)
  return blocks
}

/** The commands of a page's shell blocks, one a line, without comments. */
export function shellCommands(file: string): string[] {
  return codeBlocks(file)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.replaceAll(/\\\n\s*/g, '').split('\n'))
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter(Boolean)
}
