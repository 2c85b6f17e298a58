import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { holdRunningLock, stopRunning } from '../../peer/src/identity/running-lock.ts'
import { start } from '../support/process.ts'

const nobody = () => {}
const RUNNING = { name: 'PeerError', code: 'already_running', message: new RegExp(`process ${process.pid} `) }

/** A folder with a short path. */
function folder(t: Test) {
  const dir = mkdtempSync(join(tmpdir(), 'relay-peer-test-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

async function holdInProcess(t: Test, dir: string) {
  const running = start(t, 'test/peer/identity-process.ts', { args: ['hold', dir], cwd: dir })
  await running.printed('\n')
  return {
    output: running.output().trim(),
    async signal(name: NodeJS.Signals) {
      running.child.kill(name)
      if (name === 'SIGKILL') await running.ended
    }
  }
}

t.test('one process at a time holds the lock, and is asked to end', async (t) => {
  const dir = folder(t)
  t.equal(await stopRunning(dir), false)
  let stops = 0
  const release = await holdRunningLock(dir, () => {
    stops++
    release()
  })
  await t.rejects(holdRunningLock(dir, nobody), RUNNING)
  t.equal(await stopRunning(dir), true)
  t.equal(stops, 1)
  t.same(readdirSync(dir), [])
  for (let n = 0; n < 10; n++) await (await holdRunningLock(dir, nobody))()
  t.pass('and may hold it again at once')
})

t.test('of processes that find the lock of one that was killed, one gets it', async (t) => {
  const dir = folder(t)
  for (let round = 0; round < 3; round++) {
    const processes = await Promise.all(Array.from({ length: 4 }, () => holdInProcess(t, dir)))
    t.equal(processes.filter(({ output }) => output === 'already_running').length, 3)
    await Promise.all(processes.map(({ signal }) => signal('SIGKILL')))
    t.same(readdirSync(dir), ['running.sock'])
    const contenders = await Promise.allSettled(Array.from({ length: 10 }, () => holdRunningLock(dir, nobody)))
    const [winner, ...others] = contenders.filter(({ status }) => status === 'fulfilled')
    t.same(others, [])
    await (winner as PromiseFulfilledResult<() => Promise<void>>).value()
  }
})

t.test('a process that hangs is neither harmed nor taken for one that has ended', async (t) => {
  const dir = folder(t)
  const { signal } = await holdInProcess(t, dir)
  await signal('SIGSTOP')
  const unknown = { code: 'already_running', message: /of an unknown id/ }
  await t.rejects(stopRunning(dir, 10), unknown)
  await t.rejects(holdRunningLock(dir, nobody), unknown)
  await signal('SIGCONT')
  await t.rejects(stopRunning(dir, 10), { message: /process \d+ was asked to end, but has not/ })
})

t.test('a child that outlives the holder does not hold the lock', async (t) => {
  const dir = folder(t)
  const release = await holdRunningLock(dir, nobody)
  const child = spawn('sleep', ['60'])
  t.teardown(() => child.kill())
  await release()
  await (await holdRunningLock(dir, nobody))()
})

t.test('something else in the place of the lock is kept, and blocks nothing', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'running.sock')
  writeFileSync(path, 'mine')
  t.equal(await stopRunning(dir), false)
  await (await holdRunningLock(dir, nobody))()
  t.equal(readFileSync(`${path}.moved`, 'utf8'), 'mine')
  mkdirSync(path)
  writeFileSync(join(path, 'notes'), 'mine')
  const release = await holdRunningLock(dir, nobody)
  t.ok(existsSync(join(path, 'notes')), 'a folder that cannot be moved')
  await t.rejects(holdRunningLock(dir, nobody), RUNNING, 'the lock is elsewhere')
  await release()
})

t.test('a folder with a path that is too long has its lock elsewhere', async (t) => {
  const dir = join(folder(t), 'x'.repeat(100))
  mkdirSync(dir)
  const release = await holdRunningLock(dir, nobody)
  t.same(readdirSync(dir), [])
  t.equal(lstatSync(join(tmpdir(), `relay-peer-${lstatSync(dir).uid}`)).mode & 0o777, 0o700)
  await t.rejects(holdRunningLock(dir, nobody), RUNNING)
  await release()
  t.equal(await stopRunning(dir), false)
})

t.test('a folder that is deleted meanwhile frees its name', async (t) => {
  const dir = join(folder(t), 'alice')
  mkdirSync(dir)
  const first = await holdRunningLock(dir, nobody)
  rmSync(dir, { recursive: true })
  mkdirSync(dir)
  const second = await holdRunningLock(dir, nobody)
  await first()
  await t.rejects(holdRunningLock(dir, nobody), RUNNING, 'the lock of another process stays')
  await second()
  rmSync(dir, { recursive: true })
  t.equal(await stopRunning(dir), false)
})

t.test('a holder that ends just now is waited for', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'running.sock')
  const server = createServer((socket) => {
    socket.destroy()
    server.close()
  })
  await once(server.listen(path), 'listening')
  await (await holdRunningLock(dir, nobody))()
  t.notOk(existsSync(path))
})
