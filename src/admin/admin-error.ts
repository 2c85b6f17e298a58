import { CommanderError } from 'commander'
import { isDatabaseAway } from '../postgres/postgres-client.ts'

/** Documented in the help and in docs/ADMIN.md. */
export const EXIT_CODES = `
Exit codes:
  0  done
  1  failed; doctor: something is wrong; import: lines were refused
  2  wrong usage
  3  no such client
  4  not confirmed
  5  the database cannot be reached
  141  nobody reads the output any more`

/** `unread` is what a shell has of a command that SIGPIPE, which Node.js ignores, has ended: 128 and its number. */
const EXIT_CODE = { failed: 1, usage: 2, not_found: 3, not_confirmed: 4, database_away: 5, unread: 141 }

/** Something that the command itself refuses. */
export class AdminError extends Error {
  readonly code: keyof typeof EXIT_CODE

  constructor(code: AdminError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Says what went wrong, on stderr; but not that nobody reads the output any more, as after `head`.
 *
 * @returns the exit code
 */
export function report(error: unknown, { json }: { json: boolean }): number {
  // Commander has said it already, and 0 is for --help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_CODE.usage
  const { code = isDatabaseAway(error) ? 'database_away' : 'failed' } = error instanceof AdminError ? error : {}
  const { message } = error as Error
  if (code !== 'unread') console.error(json ? JSON.stringify({ error: message, code }) : `relay-admin: ${message}`)
  return EXIT_CODE[code]
}

/** Makes an exit code, and no stack trace, of output that nobody reads any more; who waits until it is written gets an error besides. */
export function watchOutput() {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error) => {
      if (isBrokenPipe(error)) process.exitCode = EXIT_CODE.unread
    })
  }
}

export function isBrokenPipe(error: unknown) {
  return (error as NodeJS.ErrnoException).code === 'EPIPE'
}
