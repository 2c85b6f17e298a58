import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { start } from './helper.ts'

const API = { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay', PORT: '0', INTERNAL_PORT: '0' }

t.test('an API whose event loop is blocked for good ends, and says why', async (t) => {
  const block = `--import "data:text/javascript,process.on('SIGUSR2',()=>{for(;;);})"`
  const api = start(t, 'src/server.ts', { env: { ...API, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${block}` } })
  await api.printed('Server listening')
  api.child.kill('SIGUSR2')
  t.match(await api.ended, { signal: 'SIGKILL', output: /^relay-tracker: the event loop has been blocked for 10 s/m })
})

t.test('one that was frozen, or works for long, goes on', async (t) => {
  const dir = t.testdir({
    'process.ts': `
      import { startWatchdog } from '${pathToFileURL('src/runtime/watchdog.ts')}'
      startWatchdog({ interval: 400 })
      const end = performance.now() + 1000
      while (performance.now() < end);
      process.on('SIGTERM', () => process.exit(3))
      setInterval(() => console.log('alive'), 100)`
  })
  const child = spawn(process.execPath, [`${dir}/process.ts`], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  await pause(6000)
  child.kill('SIGCONT')
  await pause(3000)
  child.kill('SIGTERM')
  child.stdout.resume()
  t.same(await once(child, 'exit'), [3, null])
})

t.test('one with a debugger is left alone', async (t) => {
  const dir = t.testdir({
    'process.ts': `
      import { startWatchdog } from '${pathToFileURL('src/runtime/watchdog.ts')}'
      startWatchdog({ interval: 50 })
      const end = performance.now() + 2000
      while (performance.now() < end);
      process.exit(3)`
  })
  const child = spawn(process.execPath, ['--inspect=127.0.0.1:0', `${dir}/process.ts`], { stdio: 'ignore' })
  t.same(await once(child, 'exit'), [3, null])
})
