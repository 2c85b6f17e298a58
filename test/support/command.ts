import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { Test } from 'tap'
import type { Surroundings } from '../../peer/src/cli/terminal.ts'
import { follow } from './process.ts'

interface Place {
  env: NodeJS.ProcessEnv
  cwd: string
}

/** Runs a command in this process, without a terminal: its exit code, and what it printed where. */
export async function runInProcess(
  command: (args: string[], surroundings: Surroundings) => Promise<number>,
  args: string[],
  { env = {} as NodeJS.ProcessEnv, input = '' as string | Buffer, stdout = collect() as Writable }
) {
  const stderr = collect()
  const code = await command(args, { stdin: Readable.from([Buffer.from(input)]), stdout, stderr, env })
  return { code, stdout: String(stdout), stderr: String(stderr) }
}

/** Runs a pipeline in which `command` is the program: the exit codes of the pipeline's commands, and what each printed. */
export async function runInShell(t: Test, program: string, line: string, place: Place) {
  const script = `exec 2> errors; command() { ${quoted(program)} "$@"; }; ${line}; echo "\${PIPESTATUS[*]}" > codes`
  const { output: stdout } = await follow(start(t, 'bash', ['-c', script], place)).ended
  const [codes, stderr] = ['codes', 'errors'].map((file) => readFileSync(join(place.cwd, file), 'utf8'))
  return { codes: codes?.trim(), stdout, stderr }
}

/** Runs a program on a terminal, where `answer` is typed when it asks. */
export function runOnTerminal(t: Test, program: string, line: string, place: Place, answer?: string) {
  // In place of the shell, because some, like dash, would be ended by Ctrl-C with an exit code of their own.
  const child = start(t, 'script', ['-qec', `exec ${quoted(program)} ${line}`, '/dev/null'], place)
  const running = follow(child)
  if (answer) running.printed('[y/N]').then(() => child.stdin.write(answer))
  return running
}

function quoted(program: string) {
  return `"${process.execPath}" "${join(import.meta.dirname, '../..', program)}"`
}

function start(t: Test, file: string, args: string[], { env, cwd }: Place) {
  const child = spawn(file, args, { env: { ...process.env, TERM: 'xterm', ...env }, cwd })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** A stream that keeps what is written to it, for `String()`. */
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
