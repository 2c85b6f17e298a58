import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'

/** What a command is started with: the process itself, or what a test provides. */
export interface Surroundings {
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean }
  env: NodeJS.ProcessEnv
}

/** A failure that the command itself reports. */
export class CommandError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Where a verb reads and writes. */
export class Terminal {
  readonly stdin: Surroundings['stdin']
  readonly stdout: Surroundings['stdout']
  readonly stderr: Surroundings['stderr']
  readonly env: NodeJS.ProcessEnv
  /** Whether programs read the output. */
  readonly json: boolean
  readonly #broken = new AbortController()

  constructor({ stdin, stdout, stderr, env }: Surroundings, json: boolean) {
    this.stdin = stdin
    this.stdout = stdout
    this.stderr = stderr
    this.env = env
    this.json = json
    for (const stream of [stdout, stderr]) stream.on('error', (error) => this.#broken.abort(error))
  }

  /** Aborted, with the reason, when output cannot be written, as after `head`. */
  get broken(): AbortSignal {
    return this.#broken.signal
  }

  /** Prints a result: a line of JSON for programs, words for people. */
  print(value: unknown, words: string) {
    this.stdout.write(`${this.json ? JSON.stringify(value) : words}\n`)
  }

  /** Reports progress: to programs among the results, to people on stderr. */
  tell(event: { type: string; [member: string]: unknown }, words: string) {
    if (this.json) this.print(event, words)
    else this.warn(words)
  }

  /** Writes a line to stderr. */
  warn(line: string) {
    this.stderr.write(`${line}\n`)
  }

  /** Waits until everything is written. @returns whether it could be */
  async flush(): Promise<boolean> {
    for (const stream of [this.stdout, this.stderr]) {
      const error = await new Promise<Error | null | undefined>((resolve) => stream.write('', resolve))
      if (error) this.#broken.abort(error)
    }
    return !this.broken.aborted
  }

  /**
   * Asks before something is destroyed.
   *
   * @param codes of the errors when there is nobody to ask, and when the answer is no
   * @throws CommandError
   */
  async confirm(question: string, codes: { unasked: string; declined: string }) {
    if (!this.stdin.isTTY) throw new CommandError(codes.unasked, 'there is no terminal to ask on: add --yes')
    const prompt = createInterface({ input: this.stdin, output: this.stderr })
    const answer = await prompt.question(`${question} [y/N] `).catch(() => '') // Ctrl-C
    prompt.close()
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError(codes.declined, 'nothing was changed')
  }
}
