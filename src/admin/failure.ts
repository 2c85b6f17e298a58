import { CommanderError } from 'commander'
import { isDatabaseAway } from '../database.ts'

/** Documented in the help and in docs/ADMIN.md. */
export const EXIT_CODES = `
Exit codes:
  0  done
  1  failed; doctor: something is wrong; import: lines were refused
  2  wrong usage
  3  no such client
  4  not confirmed
  5  the database cannot be reached`

const EXIT_CODE = { failed: 1, usage: 2, not_found: 3, not_confirmed: 4, database_away: 5 }

/** Something that the command itself refuses. */
export class AdminError extends Error {
  readonly code: keyof typeof EXIT_CODE

  constructor(code: AdminError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Says what went wrong, on stderr.
 *
 * @returns the exit code
 */
export function report(error: unknown, { json }: { json: boolean }): number {
  // Commander has said it already, and 0 is for --help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_CODE.usage
  const { code = isDatabaseAway(error) ? 'database_away' : 'failed' } = error instanceof AdminError ? error : {}
  const { message } = error as Error
  console.error(json ? JSON.stringify({ error: message, code }) : `relay-admin: ${message}`)
  return EXIT_CODE[code]
}
