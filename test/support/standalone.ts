import type { Test } from 'tap'
import { freePort } from '../../src/runtime/listen-port.ts'
import { client } from './api.ts'
import { start } from './process.ts'

/** `npm start` in a folder of its own, on a free port. */
export async function startStandalone(t: Test, dir: string, env: NodeJS.ProcessEnv = {}) {
  const PORT = String(await freePort('127.0.0.1'))
  const standalone = start(t, 'src/processes/standalone.ts', {
    cwd: dir,
    env: { PORT, INTERNAL_PORT: '0', LOG_LEVEL: 'warn', ...env }
  })
  /** Stops it as an operator does. */
  const stop = async () => {
    standalone.child.kill('SIGTERM')
    t.match(await standalone.ended, { code: 0 })
  }
  return {
    ...standalone,
    stop,
    origin: `https://127.0.0.1:${PORT}`,
    relay: client(`https://127.0.0.1:${PORT}/api/relay`)
  }
}
