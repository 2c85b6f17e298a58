import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createDatabase } from '../support/database.ts'
import { follow, start } from '../support/process.ts'

const COMMAND = 'src/processes/admin.ts'

/** The admin command and a database of the test's own. */
export async function startAdmin(t: Test, database?: string) {
  const cwd = t.testdir({})
  const { url, patient, sql } = await createDatabase(t)
  const env = { DATABASE_URL: database ?? url }

  /** Runs the command: its end, and what it printed where. */
  async function admin(args: string[], { input = '', env: more = {} as NodeJS.ProcessEnv } = {}) {
    const { child, ended } = start(t, COMMAND, { args, env: { ...env, ...more }, cwd })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (text) => {
      stdout += text
    })
    child.stderr.on('data', (text) => {
      stderr += text
    })
    child.stdin.on('error', () => {}).end(input)
    const { code } = await ended
    return { code, stdout, stderr }
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
    /** Runs it in a pipeline, where `admin` is its name: the exit codes of the pipeline's commands, and what each printed. */
    async inShell(line: string) {
      const script = `admin() { "${process.execPath}" "${join(import.meta.dirname, '../..', COMMAND)}" "$@"; }; ${line}`
      const command = `${script}; echo "\${PIPESTATUS[*]}" > codes`
      const child = spawn('bash', ['-c', `exec 2> errors; ${command}`], { env: { ...process.env, ...env }, cwd })
      t.teardown(() => child.kill('SIGKILL'))
      const { output: stdout } = await follow(child).ended
      const [codes, stderr] = ['codes', 'errors'].map((file) => readFileSync(join(cwd, file), 'utf8'))
      return { codes: codes?.trim(), stdout, stderr }
    },
    /** Runs it where nobody reads what it prints. */
    async unread(...args: string[]) {
      const { child, ended } = start(t, COMMAND, { args, env, cwd })
      child.stdin.end()
      child.stdout.destroy()
      const { code, output } = await ended
      return { code, stderr: output }
    },
    /** Runs it on a terminal. */
    onTerminal(line: string, input = '') {
      const shell = `exec "${process.execPath}" "${join(import.meta.dirname, '../..', COMMAND)}" ${line}`
      const child = spawn('script', ['-qec', shell, '/dev/null'], {
        env: { ...process.env, ...env, TERM: 'xterm' },
        cwd
      })
      t.teardown(() => child.kill('SIGKILL'))
      child.stdin.on('error', () => {}).write(input)
      return follow(child).ended
    }
  }
}

/** The lines of the audit log among what a command printed on stderr. */
export function auditIn(stderr: string) {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}
