import type { Node } from 'typescript/unstable/ast'

/**
 * The documentation comment of a declaration: its paragraphs, and a list of its tags.
 *
 * The tag `param port 0 for any` becomes "`port`: 0 for any", and `throws Error` "Throws Error".
 */
export function documentation(node: Node): string[] {
  const [text, ...tags] = commentBefore(node).split(/(?:^|\s)@(?=(?:param|returns|throws)\b)/) as [string, ...string[]]
  const list = tags.map((tag) => {
    const words = tag.trim()
    const line = words.startsWith('param')
      ? words.replace(/^param\s+(\S+)/, '`$1`:')
      : words.replace(/^./, (letter) => letter.toUpperCase())
    return `- ${line.replaceAll(/\n\s*/g, '\n  ')}`
  })
  return [text.trim(), list.join('\n')].filter((part) => part !== '')
}

/** The documentation comment of a member, for a cell of a table. */
export function meaning(node: Node, from?: number): string {
  return cell(commentBefore(node, from))
}

/** Code for a cell of a table. */
export function codeCell(text: string): string {
  return `\`${cell(text)}\``
}

/** A block of TypeScript: a declaration, up to its body if it has one, without what only its implementation needs. */
export function codeBlock(node: Node, end = node.end): string {
  const { text } = node.getSourceFile()
  const start = node.getStart()
  const indent = start - text.lastIndexOf('\n', start) - 1
  const [first, ...rest] = text.slice(start, end).trim().split('\n') as [string, ...string[]]
  const signature = first.replace(/^(export )?(static )?(async )?(\* ?)?/, '$2')
  return ['```ts', signature, ...rest.map((line) => line.slice(indent)), '```'].join('\n')
}

function cell(text: string) {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')
}

/** The last documentation comment before a node, from the end of what precedes it, without its asterisks. */
function commentBefore(node: Node, from = node.pos): string {
  const before = node.getSourceFile().text.slice(from, node.getStart())
  const [, comment = ''] = before.match(/.*\/\*\*(.*?)\*\//s) ?? []
  return comment.replaceAll(/^[ \t]*\*?[ \t]?/gm, '').trim()
}
