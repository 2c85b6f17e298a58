import { stripTypeScriptTypes } from 'node:module'
import { type AnyNode, parse } from 'acorn'
import { full } from 'acorn-walk'

/** A small break: the text from `start` to `end` becomes `replacement`. */
export interface Mutation {
  kind: 'condition' | 'limit' | 'statement' | 'sql'
  start: number
  end: number
  replacement: string
}

const INVERSE: Record<string, string> = {
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
  '===': '!==',
  '!==': '===',
  '&&': '||',
  '||': '&&'
}
const SQL_INVERSE: Record<string, string> = {
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
  '<>': '=',
  'is not null': 'is null',
  'is null': 'is not null'
}
const SQL_TAG = /^(sql|query|once|persistently|transaction)\b/

/**
 * Every mutation of a TypeScript source: conditions inverted, numbers above 1 multiplied by ten, calls, assignments and guards removed; and
 * in its SQL what `sqlMutations` finds.
 */
export function mutationsOf(source: string): Mutation[] {
  const code = stripTypeScriptTypes(source)
  if (code.length !== source.length) throw new Error('stripping the types moved the code')
  const found: Mutation[] = []
  const add = (kind: Mutation['kind'], { start, end }: { start: number; end: number }, replacement: string) =>
    found.push({ kind, start, end, replacement })
  const text = ({ start, end }: AnyNode) => source.slice(start, end)

  full(parse(code, { ecmaVersion: 'latest', sourceType: 'module' }), (visited) => {
    const node = visited as AnyNode
    switch (node.type) {
      case 'BinaryExpression':
      case 'LogicalExpression': {
        const inverse = INVERSE[node.operator]
        const start = code.indexOf(node.operator, node.left.end)
        if (inverse) add('condition', { start, end: start + node.operator.length }, inverse)
        break
      }
      case 'UnaryExpression':
        if (node.operator === '!') add('condition', { start: node.start, end: node.argument.start }, '')
        break
      case 'IfStatement':
        if (!node.alternate && isWayOut(node.consequent)) add('statement', node, ';')
        if (isPlain(node.test)) add('condition', node.test, `!${text(node.test)}`)
        break
      case 'ConditionalExpression':
        if (isPlain(node.test)) add('condition', node.test, `!${text(node.test)}`)
        break
      case 'Literal':
        if (typeof node.value === 'number' && node.value > 1) add('limit', node, String(node.value * 10))
        break
      case 'ExpressionStatement':
        if (!node.directive) add('statement', node, ';')
        break
      case 'TaggedTemplateExpression':
        if (!SQL_TAG.test(text(node.tag))) break
        for (const { start, end, ...sql } of sqlMutations(text(node.quasi)))
          found.push({ ...sql, start: node.quasi.start + start, end: node.quasi.start + end })
    }
  })
  return found.sort((a, b) => a.start - b.start)
}

/** Whether it is a condition without an operator that could be inverted. */
function isPlain({ type }: AnyNode) {
  return ['Identifier', 'CallExpression', 'MemberExpression', 'ChainExpression'].includes(type)
}

function isWayOut(node: AnyNode): boolean {
  const last = node.type === 'BlockStatement' ? node.body.at(-1) : node
  return ['ReturnStatement', 'ThrowStatement', 'ContinueStatement'].includes(last?.type ?? '')
}

/** Every mutation of SQL: comparisons inverted, conditions removed. */
export function sqlMutations(sql: string): Mutation[] {
  const text = withoutForeign(sql)
  const comparisons = [...text.matchAll(/(?<![-<>=@])(<>|<=|>=|<|>)(?![<>=@])|\bis (not )?null\b/g)].map(
    ({ index, 0: operator }) => ({
      start: index,
      end: index + operator.length,
      replacement: SQL_INVERSE[operator] as string
    })
  )
  const conditions = [...text.matchAll(/\b(where|and)\s/g)]
    .filter(({ index }) => !/between [^ ]+ $/.test(text.slice(0, index)))
    .map(({ index, 1: word }) => ({
      start: index,
      end: endOfCondition(text, index + (word as string).length),
      replacement: word === 'where' ? 'where true ' : ''
    }))
  return [...comparisons, ...conditions].map((mutation) => ({ kind: 'sql', ...mutation }))
}

/** SQL of the same length with its comments, strings and parameters blanked. */
function withoutForeign(sql: string) {
  const blank = (text: string) => text.replaceAll(/[^\n]/g, '_')
  let blanked = sql.replaceAll(/--.*|'[^'\n]*'/g, blank)
  // The innermost first, since they may be nested.
  for (let before = ''; before !== blanked; ) {
    before = blanked
    blanked = blanked.replaceAll(/[$]?\{[^{}]*\}/g, blank)
  }
  return blanked
}

const AFTER_CONDITION =
  /\b(and|or|where|order|group|limit|returning|for|on|then|else|end|union|window|left|cross|execute|loop)\b|[();`]/g

function endOfCondition(sql: string, from: number) {
  let depth = 0
  for (const { index, 0: token } of sql.slice(from).matchAll(AFTER_CONDITION)) {
    if (token === '(') depth++
    else if (depth === 0) return from + index
    else if (token === ')') depth--
  }
  return sql.length
}
