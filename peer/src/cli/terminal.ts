import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'

/** What a command is started with: a process's own, or a test's. */
export interface Surroundings {
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean }
  env: NodeJS.ProcessEnv
}

/** A failure of the command itself. */
export class CommandError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export type Terminal = ReturnType<typeof createTerminal>

/**
 * Where a verb reads and writes.
 *
 * @param json whether programs read the output
 */
export function createTerminal({ stdin, stdout, stderr, env }: Surroundings, json: boolean) {
  const broken = new AbortController()
  const { signal }: { signal: AbortSignal } = broken
  for (const stream of [stdout, stderr]) stream.on('error', (error) => broken.abort(error))

  /** Prints a result: a line of JSON for programs, words for people. */
  function print(value: unknown, words: string) {
    stdout.write(`${json ? JSON.stringify(value) : words}\n`)
  }

  /** Writes a line to stderr. */
  function warn(line: string) {
    stderr.write(`${line}\n`)
  }

  return {
    stdin,
    stdout,
    stderr,
    env,
    json,
    /** Aborted, with the reason, when output cannot be written, as after `head`. */
    broken: signal,
    print,
    warn,

    /** Reports progress: to programs among the results, to people on stderr. */
    tell(event: { type: string; [member: string]: unknown }, words: string) {
      if (json) print(event, words)
      else warn(words)
    },

    /** Waits until everything is written. @returns whether it could be */
    async flush(): Promise<boolean> {
      for (const stream of [stdout, stderr]) {
        const error = await new Promise<Error | null | undefined>((resolve) => stream.write('', resolve))
        if (error) broken.abort(error)
      }
      return !signal.aborted
    },

    /**
     * Asks before something is destroyed.
     *
     * @param codes of the errors when there is nobody to ask, and when the answer is no
     * @throws CommandError
     */
    async confirm(question: string, codes: { unasked: string; declined: string }) {
      if (!stdin.isTTY) throw new CommandError(codes.unasked, 'there is no terminal to ask on: add --yes')
      const prompt = createInterface({ input: stdin, output: stderr })
      const answer = await prompt.question(`${question} [y/N] `).catch(() => '') // Ctrl-C
      prompt.close()
      if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError(codes.declined, 'nothing was changed')
    }
  }
}
