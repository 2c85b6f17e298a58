import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Mutation, mutationsOf, sqlMutations } from './mutations.ts'

/** A mutation of one of the project's files. */
export interface Mutant extends Mutation {
  file: string
  line: number
  /** The line that the mutation begins in, and what it becomes. */
  before: string
  after: string
}

/**
 * Chooses so many mutants of the sources and of current SQL, equally many of each kind. A seed chooses the same ones as long as their lines stay
 * the same, whatever else changes.
 *
 * @param root of the project
 */
export function chooseMutants(root: string, seed: number, count: number): Mutant[] {
  const all = globSync(['src/**/*.ts', 'sql/*.sql'], { cwd: root }).flatMap((file) => mutantsOf(root, file))
  const rank = ({ kind, file, before, after }: Mutant) =>
    createHash('sha256').update([seed, kind, file, before, after].join('\n')).digest('hex')
  const ranked = all.map((mutant) => ({ mutant, rank: rank(mutant) })).sort((a, b) => (a.rank < b.rank ? -1 : 1))
  const kinds = Object.values(Object.groupBy(ranked, ({ mutant }) => mutant.kind)).map((some = []) => some)
  const rounds = kinds.flatMap((some) => some.map(({ mutant }, round) => ({ mutant, round })))
  return rounds
    .sort((a, b) => a.round - b.round)
    .slice(0, count)
    .map(({ mutant }) => mutant)
}

function mutantsOf(root: string, file: string): Mutant[] {
  const source = readFileSync(join(root, file), 'utf8')
  const mutations = file.endsWith('.sql')
    ? sqlMutations(source).filter(({ start }) => isInForce(root, file, source, start))
    : mutationsOf(source)
  return mutations.map((mutation) => {
    const line = source.slice(0, mutation.start).split('\n').length
    const mutated = apply(source, mutation)
    const lineOf = (text: string) => (text.split('\n')[line - 1] as string).trim()
    return { ...mutation, file, line, before: lineOf(source), after: lineOf(mutated) }
  })
}

/** A source with a mutation. */
export function apply(source: string, { start, end, replacement }: Mutation): string {
  return source.slice(0, start) + replacement + source.slice(end)
}

/** Whether no later migration replaces the function or trigger. */
function isInForce(root: string, file: string, source: string, offset: number) {
  const [, name] =
    [...source.slice(0, offset).matchAll(/^create (?:or replace )?((?:function|trigger) \w+)/gm)].at(-1) ?? []
  const later = globSync('sql/0*.sql', { cwd: root }).filter((other) => other > file)
  return !name || !later.some((other) => readFileSync(join(root, other), 'utf8').includes(name))
}
