import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { start } from '../support/process.ts'

const API = { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay', PORT: '0', INTERNAL_PORT: '0' }

t.test('an API whose event loop is blocked for good ends and says why', async (t) => {
  const block = `--import "data:text/javascript,process.on('SIGUSR2',()=>{for(;;);})"`
  const api = start(t, 'src/processes/api.ts', {
    env: { ...API, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${block}` }
  })
  await api.printed('Server listening')
  api.child.kill('SIGUSR2')
  t.match(await api.ended, { signal: 'SIGKILL', output: /^relay-tracker: the event loop has been blocked for 10 s/m })
})

t.test('a process that was frozen or works for long goes on', async (t) => {
  const child = startWatched(t, 400, {
    works: 1000,
    after: `
      process.on('SIGTERM', () => process.exit(3))
      setInterval(() => console.log('alive'), 100)`
  })
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  await pause(6000)
  child.kill('SIGCONT')
  await pause(3000)
  child.kill('SIGTERM')
  child.stdout.resume()
  t.same(await once(child, 'exit'), [3, null])
})

t.test('a process with a debugger is left alone', async (t) => {
  const child = startWatched(t, 50, { works: 2000, after: 'process.exit(3)' }, '--inspect=127.0.0.1:0')
  child.stdout.resume()
  t.same(await once(child, 'exit'), [3, null])
})

/** A process that starts its watchdog, blocks its event loop for some milliseconds, and goes on. */
function startWatched(
  t: Test,
  interval: number,
  { works, after }: { works: number; after: string },
  ...options: string[]
) {
  const dir = t.testdir({
    'process.ts': `
      import { startWatchdog } from '${pathToFileURL('src/runtime/watchdog.ts')}'
      startWatchdog({ interval: ${interval} })
      const end = performance.now() + ${works}
      while (performance.now() < end);
      ${after}`
  })
  const child = spawn(process.execPath, [...options, `${dir}/process.ts`], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}
