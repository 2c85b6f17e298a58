import { join } from 'node:path'
import t, { type Test } from 'tap'
import { peerReference } from '../../scripts/peer-reference.ts'

const LIBRARY = `
import { EventEmitter } from 'node:events'

interface Events {
  /** It rings. */
  ring: [times: number, loud: boolean]
}

/**
 * Rings.
 *
 * Twice, if need be.
 */
export class Bell extends EventEmitter<Events> {
  pitch!: number
  readonly isOld = false
  /** How loud: 'low' | 'high'. */
  readonly volume: 'low' | 'high' = 'low'
  #clapper = 1
  protected rope = ''
  private constructor() {
    super()
  }

  /** Not shown. */
  override on(): this {
    return this
  }

  /** Where it
   * hangs. */
  get tower(): string | undefined {
    return String(this.#clapper)
  }

  /**
   * Rings.
   *
   * @param options.times how often
   * @throws BellError \`broken\`, or
   *   \`stolen\`
   */
  static async ring({ times = 1 }: { times?: number } = {}): Promise<number> {
    return times
  }

  /** Every sound. @returns one after the other */
  async *sounds(
    from: Date,
    to: Date
  ): AsyncGenerator<string, void> {}
}

/** A sound, or silence. */
export function sound(of: Bell): string {
  return of.volume
}

export class BellError extends Error {
  override name = 'BellError'
}

/** Has any event. */
export class Rope extends EventEmitter {}

export class Tower {}

export interface Options {
  at?: Date
  strike(hard: boolean): void
}

export type Key =
  /** Do. */
  | 'c'
  /** Re. */
  | 'd'

/** Undocumented ones. */
export type Other =
  | 'e'
  | 'f'

export type Name = string
`

/** What the page says of it. */
const EXPECTED = `## Bell

Rings.

Twice, if need be.

| member | type | |
|---|---|---|
| \`pitch\` | \`number\` | |
| \`isOld\` | \`false\` | |
| \`volume\` | \`'low' \\| 'high'\` | How loud: 'low' \\| 'high'. |
| \`tower\` | \`string \\| undefined\` | Where it hangs. |

### \`ring\`

\`\`\`ts
static ring({ times = 1 }: { times?: number } = {}): Promise<number>
\`\`\`

Rings.

- \`options.times\`: how often
- Throws BellError \`broken\`, or
  \`stolen\`

### \`sounds\`

\`\`\`ts
sounds(
  from: Date,
  to: Date
): AsyncGenerator<string, void>
\`\`\`

Every sound.

- Returns one after the other

### Events

| event | arguments | |
|---|---|---|
| \`ring\` | \`(times: number, loud: boolean)\` | It rings. |

## Rope

Has any event.

## Tower

## sound

\`\`\`ts
function sound(of: Bell): string
\`\`\`

A sound, or silence.

## BellError

## Key

| value | |
|---|---|
| \`'c'\` | Do. |
| \`'d'\` | Re. |

## Name

\`\`\`ts
type Name = string
\`\`\`

## Options

| member | type | |
|---|---|---|
| \`at?\` | \`Date\` | |
| \`strike\` | \`(hard: boolean) => void\` | |

## Other

Undocumented ones.

\`\`\`ts
type Other =
  | 'e'
  | 'f'
\`\`\`
`

t.test('the reference shows what a library exports', async (t) => {
  const page = describe(
    t,
    LIBRARY,
    "export { type Key, type Name, type Options, type Other, BellError, Bell, Rope, Tower, sound } from './bells.ts'"
  )
  t.equal(page.slice(page.indexOf('## Bell')), EXPECTED)
})

t.test('an export that the reference cannot show is an error', async (t) => {
  t.throws(() => describe(t, 'export const pitch = 440', "export { pitch } from './bells.ts'"), {
    message: 'pitch is neither a class nor a function nor a type'
  })
})

function describe(t: Test, library: string, index: string) {
  const compilerOptions = { module: 'nodenext', target: 'es2024', allowImportingTsExtensions: true, noEmit: true }
  const dir = t.testdir({
    'tsconfig.json': JSON.stringify({ compilerOptions, include: ['src'] }),
    src: { 'bells.ts': library, 'index.ts': index }
  })
  return peerReference(join(dir, 'tsconfig.json'))
}
