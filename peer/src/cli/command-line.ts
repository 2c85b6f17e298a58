import { Command, CommanderError } from 'commander'
import { CommandError, createTerminal, type Surroundings, type Terminal } from './terminal.ts'

/** What a verb does, with its arguments and then its options. */
type Act = (terminal: Terminal, ...args: never[]) => Promise<void>

/** An error as it is reported: a code for programs, and what to do next. */
interface Explanation {
  code: string
  advice?: string | undefined
}

export interface Program {
  name: string
  /** How people call it, if not by its name. */
  invocation?: string
  description: string
  version: string
  /** What each exit code means, apart from those that all commands share. */
  exitCodes: Record<number, string>
  /** The exit codes of errors, by the error's code; of all others it is 1. */
  exitCodeOf: Record<string, number>
  explain?: (error: Error) => Explanation
}

/** What a shell reports for a command that SIGPIPE killed: 128 plus its number. Node.js itself ignores the signal. */
const BROKEN_PIPE = 141
const EXIT_CODES = { 0: 'done', 1: 'failed', 2: 'wrong usage', [BROKEN_PIPE]: 'the reader of the output has ended' }

/**
 * A command with verbs. Help needs only what is declared here: a verb's module is loaded when it runs.
 *
 * @param args without the program's name
 */
export function createCommandLine(args: string[], surroundings: Surroundings, options: Program) {
  const { name, invocation = name, explain = explainOwn } = options
  const terminal = createTerminal(surroundings, args.includes('--json'))
  const meanings = Object.entries({ ...EXIT_CODES, ...options.exitCodes }).map(([code, words]) => `  ${code}  ${words}`)
  const program = new Command(name)
    .description(options.description)
    .version(options.version)
    .addHelpText('after', `\nExit codes:\n${meanings.join('\n')}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: () => {} // reported like any other error
    })

  /** @returns the exit code */
  function report(error: Error): number {
    const { message } = error
    const { code, advice } = explain(error)
    if (terminal.json) terminal.warn(JSON.stringify({ error: message, code, advice }))
    else terminal.warn(`${name}: ${message}${advice ? `\n${advice}` : ''}`)
    return { usage: 2, ...options.exitCodeOf }[code] ?? 1
  }

  async function attempt(): Promise<number> {
    try {
      await program.parseAsync(dashedLast(args), { from: 'user' })
      return 0
    } catch (error) {
      if (!(await terminal.flush())) return 1
      if (!(error instanceof CommanderError)) return report(error as Error)
      if (error.exitCode === 0) return 0
      // Without a verb, Commander has printed the help in place of a message.
      if (error.code === 'commander.help') return 2
      return report(new CommandError('usage', error.message.replace(/^error: /, '')))
    }
  }

  return {
    program,

    /** A function that declares the verbs of a command, with the options that all have. */
    verbs(parent: Command) {
      /**
       * @param usage its name and arguments, as Commander reads them
       * @param examples for its help, without the command's name
       */
      return (usage: string, description: string, examples: string[], load: () => Promise<Act>): Command =>
        parent
          .command(usage)
          .description(description)
          .option('--json', 'output for programs')
          .addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${invocation} ${line}`).join('\n')}`)
          .action(async (...args) => (await load())(terminal, ...(args as never[])))
    },

    /** Runs what the arguments say. @returns the exit code */
    async run(): Promise<number> {
      const exitCode = await attempt()
      if (await terminal.flush()) return exitCode
      const { reason } = terminal.broken
      return reason.code === 'EPIPE' ? BROKEN_PIPE : report(reason)
    }
  }
}

/** A parser for an option's whole number. */
export function wholeNumber(min: number, max: number) {
  return (text: string) => {
    const number = Number(text)
    if (/^\d+$/.test(text) && number >= min && number <= max) return number
    throw new CommandError('usage', `${text} is not a whole number from ${min} to ${max}`)
  }
}

/** Moves fingerprints that begin with a dash, as one in 64 does, to the end, after `--`: Commander would read them as options. */
function dashedLast(args: string[]): string[] {
  const isDashed = (arg: string, n: number) => /^-[\w-]{42}$/.test(arg) && args[n - 1] !== '--fingerprint'
  const dashed = args.filter(isDashed)
  if (dashed.length === 0 || args.includes('--')) return args
  return [...args.filter((arg, n) => !isDashed(arg, n)), '--', ...dashed]
}

function explainOwn(error: Error): Explanation {
  return { code: error instanceof CommandError ? error.code : 'failed' }
}
