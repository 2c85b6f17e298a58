import { quantile, toTable } from '../test/support/figures.ts'
import type { Figures } from './measure.ts'
import type { Result } from './rounds.ts'

const LEADING = `Ratios to the ceiling, to the edge and to stdiscosrv are the result: they hold on other machines, too. A ratio is the
relay's figure divided by the other's, the median of those of all rounds. Absolute figures are medians, and only context.`

/** The median of each figure over the rounds. */
export function medians(rounds: Figures[]): Figures {
  const names = Object.keys(rounds[0] ?? {})
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((figures) => Number(figures[name])))]))
}

/** The figures of one subject as multiples of another's in the same round. */
export function ratios(ours: Figures[], theirs: Figures[]): Figures {
  return medians(
    ours.map((figures, round) =>
      Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, value / Number(theirs[round]?.[name])]))
    )
  )
}

/** Every result, with the relay's for the same operation as its multiple. */
export function compare(results: Result[], ours = 'relay') {
  return results
    .filter(({ subject }) => subject !== ours)
    .flatMap(({ operation, subject, rounds }) => {
      const own = results.find((result) => result.operation === operation && result.subject === ours)
      return own?.rounds.length && rounds.length ? [{ operation, to: subject, ...ratios(own.rounds, rounds) }] : []
    })
}

const RATIOS = ['requests/s', 'p50 (ms)', 'p99 (ms)', 'CPU nginx (ms)', 'CPU API (ms)', 'CPU service (ms)']
const FIGURES = [
  ...['requests/s', 'p50 (ms)', 'p99 (ms)', 'CPU nginx (ms)', 'CPU API (ms)', 'CPU PostgreSQL (ms)', 'CPU load (ms)'],
  ...['CPU other (ms)', 'cores busy', 'memory nginx (MiB)', 'memory API (MiB)', 'memory PostgreSQL (MiB)'],
  'memory worker (MiB)'
]
const LISTS = [
  ...['requests/s', 'p50 (ms)', 'p99 (ms)', 'first byte p50 (ms)', 'first byte p99 (ms)', 'bytes per answer'],
  ...['CPU nginx (ms)', 'CPU API (ms)', 'CPU PostgreSQL (ms)', 'memory API before (MiB)', 'memory API (MiB)']
]

/** All that was measured, for programs. */
export function toJson(about: object, results: Result[]) {
  const summary = results.map(({ operation, subject, rounds }) => ({ operation, subject, ...medians(rounds) }))
  return `${JSON.stringify({ ...about, ratios: [...compare(results), ...compare(results, 'large')], summary, results }, null, 2)}\n`
}

/** All that was measured, as Markdown. */
export function report(machine: object, results: Result[]) {
  const [lists, others] = [results.filter(isList), results.filter((result) => !isList(result))]
  return [
    LEADING,
    ...section('Failures', failures(results)),
    ...section(
      'Ratios',
      ratioRows(
        compare(results).filter(({ to }) => to !== 'large'),
        RATIOS
      )
    ),
    ...section('With 1,000,000 peers, to 1,000', ratioRows(compare(others, 'large'), RATIOS)),
    ...section('Figures', figureRows(others, FIGURES)),
    ...section('Lists', figureRows(lists, LISTS)),
    ...section(
      'Machine',
      Object.entries(machine).map(([what, value]) => ({ what, value }))
    ),
    ''
  ].join('\n\n')
}

const isList = ({ operation }: Result) => operation.startsWith('list')

/** Figures that only show whether something is wrong. */
export function failures(results: Result[]) {
  return results.flatMap(({ operation, subject, failure }) => (failure ? [{ operation, subject, failure }] : []))
}

function section(title: string, rows: Record<string, string | number>[]) {
  return rows.length ? [`## ${title}`, toTable(rows)] : []
}

function ratioRows(rows: ReturnType<typeof compare>, columns: string[]) {
  return rows.map(({ operation, to, ...figures }) => ({
    operation,
    to,
    ...pick(figures as unknown as Figures, columns, (name) => name.replace(/ \(.*\)/, ' ×'))
  }))
}

function figureRows(results: Result[], columns: string[]) {
  return results
    .filter(({ failure }) => !failure)
    .map(({ operation, subject, rounds }) => ({ operation, subject, ...pick(medians(rounds), columns) }))
}

function pick(figures: Figures, columns: string[], title = (name: string) => name) {
  return Object.fromEntries(columns.map((name) => [title(name), readable(figures[name])]))
}

/** A measurement is no more exact than three digits. */
function readable(value: number | undefined) {
  if (value === undefined || !Number.isFinite(value)) return ''
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(3))
}

function median(values: number[]) {
  return quantile(values, 0.5)
}
