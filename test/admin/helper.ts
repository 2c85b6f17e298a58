import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { Test } from 'tap'
import { runAdmin } from '../../src/admin/admin-command.ts'
import { createDatabase } from '../support/database.ts'
import { follow } from '../support/process.ts'

const COMMAND = join(import.meta.dirname, '../../src/processes/admin.ts')

/** The admin command and a database of the test's own. */
export async function startAdmin(t: Test, database?: string) {
  const cwd = t.testdir({})
  const { url, patient, sql } = await createDatabase(t)
  const env = { DATABASE_URL: database ?? url }

  /** Runs the command in this process: its exit code, and what it printed where. */
  async function admin(
    args: string[],
    { input = '' as string | Buffer, env: more = {} as NodeJS.ProcessEnv, stdout = collect() as Writable } = {}
  ) {
    const stdin = Readable.from([Buffer.from(input)])
    const stderr = collect()
    const code = await runAdmin(args, { stdin, stdout, stderr, env: { ...env, ...more } })
    return { code, stdout: String(stdout), stderr: String(stderr) }
  }

  function spawnInShell(command: string, args: string[], more: NodeJS.ProcessEnv = {}) {
    const child = spawn(command, args, { env: { ...process.env, ...env, ...more }, cwd })
    t.teardown(() => child.kill('SIGKILL'))
    return child
  }

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
      const { stdout: _, ...ended } = await admin(args, {
        stdout: new Writable({ write: (_chunk, _encoding, done) => done(error) })
      })
      return ended
    },
    /** Runs it as a process in a pipeline, where `admin` is its name: the exit codes of the pipeline's commands, and what each printed. */
    async inShell(line: string) {
      const script = `admin() { "${process.execPath}" "${COMMAND}" "$@"; }; ${line}; echo "\${PIPESTATUS[*]}" > codes`
      const { output: stdout } = await follow(spawnInShell('bash', ['-c', `exec 2> errors; ${script}`])).ended
      const [codes, stderr] = ['codes', 'errors'].map((file) => readFileSync(join(cwd, file), 'utf8'))
      return { codes: codes?.trim(), stdout, stderr }
    },
    /** Runs it as a process on a terminal, where `answer` is typed when it asks. */
    onTerminal(line: string, answer?: string) {
      const shell = `exec "${process.execPath}" "${COMMAND}" ${line}`
      const child = spawnInShell('script', ['-qec', shell, '/dev/null'], { TERM: 'xterm' })
      const { printed, ended } = follow(child)
      if (answer) printed('[y/N]').then(() => child.stdin.write(answer))
      return ended
    }
  }
}

/** A stream that keeps what is written to it. */
function collect() {
  const chunks: Buffer[] = []
  const stream = new Writable({
    write(chunk, _, done) {
      chunks.push(chunk)
      done()
    }
  })
  return Object.assign(stream, { toString: () => Buffer.concat(chunks).toString() })
}

/** The lines of the audit log among what a command printed on stderr. */
export function auditIn(stderr: string) {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}
