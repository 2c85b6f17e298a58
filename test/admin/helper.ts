import { Writable } from 'node:stream'
import type { Test } from 'tap'
import { runAdmin } from '../../src/admin/admin-command.ts'
import { runInProcess, runInShell, runOnTerminal } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'

const PROGRAM = 'src/processes/admin.ts'

/** The admin command and a database of the test's own. */
export async function startAdmin(t: Test, database?: string) {
  const cwd = t.testdir({})
  const { url, patient, sql } = await createDatabase(t)
  const env = { DATABASE_URL: database ?? url }

  /** Runs the command in this process. */
  const admin = (args: string[], { env: more = {}, ...options }: Partial<Parameters<typeof runInProcess>[2]> = {}) =>
    runInProcess(runAdmin, args, { env: { ...env, ...more }, ...options })

  return {
    url,
    patient,
    sql,
    cwd,
    admin,
    /** The lines of JSON that it prints. */
    // biome-ignore lint/suspicious/noExplicitAny: the tests say what they expect
    async json(...args: string[]): Promise<any[]> {
      const { stdout } = await admin([...args, '--json'])
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    },
    /** Runs it where writing to stdout fails. */
    async unwritable(code: string, ...args: string[]) {
      const error = Object.assign(new Error(`${code}: write`), { code })
      const stdout = new Writable({ write: (_chunk, _encoding, done) => done(error) })
      const { stdout: _, ...ended } = await admin(args, { stdout })
      return ended
    },
    /** Runs it as processes in a pipeline. */
    inShell: (line: string) => runInShell(t, PROGRAM, line, { env, cwd }),
    /** Runs it as a process on a terminal. */
    onTerminal: (line: string, answer?: string) => runOnTerminal(t, PROGRAM, line, { env, cwd }, answer).ended
  }
}

/** The lines of the audit log among what a command printed on stderr. */
export function auditIn(stderr: string) {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}
