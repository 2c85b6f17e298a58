import fs from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connectTo, placesOf, takePlace } from '../../peer/src/identity/lock-socket.ts'

// What only some file systems and operating systems do, and what happens within microseconds.

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: as another file system says`), { code })
}

/** The module on a file system of another kind. */
function files(t: Test, changes: Partial<typeof fs>) {
  const node = { 'node:fs': { ...fs, ...changes } }
  return t.mockImport<typeof import('../../peer/src/identity/identity-files.ts')>(
    '../../peer/src/identity/identity-files.ts',
    node
  )
}

function folder(t: Test) {
  const dir = fs.mkdtempSync(join(tmpdir(), 'relay-peer-test-'))
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }))
  return dir
}

t.test('a file system without hard links keeps what is there', async (t) => {
  const dir = t.testdir({})
  const { createFile, renameNew } = await files(t, {
    linkSync: (from) => {
      throw failure(fs.existsSync(from) ? 'EPERM' : 'ENOENT')
    }
  })
  t.equal(createFile(dir, 'a', 'mine'), true)
  t.equal(createFile(dir, 'a', 'yours'), false)
  t.equal(renameNew(dir, 'a', 'b'), true)
  t.equal(createFile(dir, 'a', 'yours'), true)
  t.equal(renameNew(dir, 'a', 'b'), false)
  t.equal(renameNew(dir, 'c', 'd'), false)
  t.equal(fs.readFileSync(join(dir, 'b'), 'utf8'), 'mine')
  t.same(fs.readdirSync(dir), ['a', 'b'])
})

t.test('a folder that may only be read is reported, and stays as it is', async (t) => {
  const dir = t.testdir({ a: 'mine' })
  const refuse = () => {
    throw failure('EROFS')
  }
  const { renameNew, takeAway, replaceFile } = await files(t, { linkSync: refuse, renameSync: refuse })
  const notSaved = { name: 'PeerError', code: 'identity_not_saved', message: /EROFS/ }
  t.throws(() => renameNew(dir, 'a', 'b'), notSaved)
  t.throws(() => takeAway(dir, 'a'), notSaved)
  t.throws(() => replaceFile(dir, 'a', 'yours'), notSaved)
  t.same(fs.readdirSync(dir), ['a'])
})

t.test('a system that opens no folders, such as Windows, saves files all the same', async (t) => {
  const dir = t.testdir({})
  const { replaceFile } = await files(t, {
    openSync: (path, ...rest) => {
      if (path === dir) throw failure('EPERM')
      return fs.openSync(path, ...rest)
    }
  })
  replaceFile(dir, 'a', 'mine')
  t.equal(fs.readFileSync(join(dir, 'a'), 'utf8'), 'mine')
})

t.test('a lock that another process takes in the same moment stays', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'running.sock')
  const abandoned = createServer()
  fs.linkSync(await listening(t, abandoned, join(dir, 'killed')), path)
  abandoned.close()
  const winner = createServer()
  const beside = await listening(t, winner, join(dir, 'winner'))
  const mocked = await t.mockImport<typeof import('../../peer/src/identity/lock-socket.ts')>(
    '../../peer/src/identity/lock-socket.ts',
    {
      'node:fs': {
        ...fs,
        renameSync: (from: string, to: string) => {
          fs.rmSync(from)
          fs.linkSync(beside, from)
          fs.renameSync(from, to)
        }
      }
    }
  )
  t.equal(await mocked.takePlace(createServer(), [{ path, kind: 'file' }]), undefined)
  t.equal(await takePlace(createServer(), [{ path, kind: 'file' }]), undefined)
  const holder = await connectTo(path)
  t.ok(holder, 'it can be reached where it was')
  holder?.destroy()
})

t.test('a pipe, as on Windows, is held by one process', async (t) => {
  const path = join(folder(t), 'pipe')
  const release = await takePlace(createServer(), [{ path, kind: 'pipe' }])
  t.equal(await takePlace(createServer(), [{ path, kind: 'pipe' }]), undefined)
  await release?.()
  const nowhere = join(path, 'nowhere')
  const notSaved = { code: 'identity_not_saved', message: /nowhere/ }
  await t.rejects(takePlace(createServer(), [{ path: nowhere, kind: 'pipe' }]), notSaved)

  const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor
  t.teardown(() => Object.defineProperty(process, 'platform', platform))
  Object.defineProperty(process, 'platform', { value: 'win32' })
  const [place, ...others] = placesOf('here')
  t.match(place, { kind: 'pipe', path: /^\\\\\.\\pipe\\relay-peer-[0-9a-f]{32}$/ })
  t.same(others, [])
})

t.test("another user's lock is not touched", async (t) => {
  const dir = folder(t)
  await t.rejects(connectTo(join(dir, 'x'.repeat(200))), { code: 'already_running', message: /perhaps another user's/ })

  const { TMPDIR } = process.env
  t.teardown(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  })
  process.env.TMPDIR = dir
  t.equal(placesOf(dir).length, 2)
  fs.writeFileSync(join(dir, `relay-peer-${fs.statSync(dir).uid}`), '')
  t.same(placesOf(dir), [{ path: join(fs.realpathSync(dir), 'running.sock'), kind: 'file' }], 'nor a folder')
})

async function listening(t: Test, server: ReturnType<typeof createServer>, path: string) {
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => server.close())
  return path
}
