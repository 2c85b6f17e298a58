import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { claimDataFolder } from '../../src/runtime/data-folder.ts'
import { replaceFile } from '../../src/runtime/replace-file.ts'
import { follow } from '../support/process.ts'

const MODULE = join(import.meta.dirname, '../../src/runtime/data-folder.ts')

/** A process that claims a folder, prints "claimed", and stays. */
function claim(t: Test, dir: string) {
  const script = `import { claimDataFolder } from ${JSON.stringify(MODULE)}
    try { claimDataFolder(${JSON.stringify(dir)}) } catch ({ message }) { console.log(message); process.exit(1) }
    console.log('claimed')
    setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script])
  t.teardown(() => child.kill('SIGKILL'))
  return follow(child)
}

t.test('a folder has one process, and another is told which', async (t) => {
  const dir = join(t.testdir({}), 'a/b')
  const first = claim(t, dir)
  await first.printed('claimed')
  const line = new RegExp(`^DATA_DIR ${dir} is in use by process ${first.child.pid} on \\S+, started at \\S+Z: .*\n$`)
  t.match(await claim(t, dir).ended, { code: 1, output: line })
  rmSync(join(dir, 'owner'))
  t.match(await claim(t, dir).ended, { code: 1, output: /in use by another process: / })

  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  await claim(t, dir).printed('claimed')
  t.same(readdirSync(dir).sort(), ['lock', 'owner'])
})

t.test('one of several processes at once gets the folder', async (t) => {
  const dir = t.testdir({})
  const all = Array.from({ length: 6 }, () => claim(t, dir))
  const losers = await Promise.all(
    all.map((one) => Promise.race([one.printed('claimed').catch(() => {}), one.ended]).then((end) => end !== undefined))
  )
  t.equal(losers.filter((isLoser) => !isLoser).length, 1)
})

t.test('the owner file does not decide: ids are reused, and a copy names another folder’s owner', async (t) => {
  const dir = t.testdir({ owner: `process ${process.pid} on here\n` })
  await claim(t, dir).printed('claimed')
})

t.test('a zombie process no longer has the folder', async (t) => {
  const dir = t.testdir({})
  const script = `import { claimDataFolder } from ${JSON.stringify(MODULE)}; claimDataFolder(${JSON.stringify(dir)})`
  // The shell becomes a sleep, which does not reap its children.
  const parent = spawn('/bin/sh', [
    '-c',
    '"$0" --input-type=module --eval "$1" & exec sleep 60',
    process.execPath,
    script
  ])
  t.teardown(() => parent.kill('SIGKILL'))
  while (!existsSync(join(dir, 'owner'))) await new Promise((resolve) => setTimeout(resolve, 20))
  const pid = Number(/process (\d+)/.exec(readFileSync(join(dir, 'owner'), 'utf8'))?.[1])
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.ok(process.kill(pid, 0), 'it is a zombie')
  await claim(t, dir).printed('claimed')
})

t.test('a folder that cannot be used is named with the reason', async (t) => {
  const dir = t.testdir({ file: '', locked: { lock: {} }, foreign: {} })
  const path = (name: string) => join(dir, name)
  const whose = `as user ${process.getuid?.()}`
  t.throws(() => claimDataFolder(path('file')), {
    message: `cannot write DATA_DIR ${path('file')} ${whose}: file already exists`
  })
  t.throws(() => claimDataFolder(path('locked')), {
    message: `cannot lock ${path('locked/lock')}: unable to open database file`
  })
  const isRoot = process.getuid?.() === 0
  chmodSync(path('foreign'), 0o555)
  if (isRoot) process.seteuid?.(65534)
  try {
    const message = `cannot write DATA_DIR ${path('foreign/new')} as user ${process.geteuid?.()}: permission denied`
    t.throws(() => claimDataFolder(path('foreign/new')), { message })
  } finally {
    if (isRoot) process.seteuid?.(0)
    chmodSync(path('foreign'), 0o755)
  }
})

t.test('a file is replaced completely or not at all', async (t) => {
  const dir = t.testdir({ key: 'old', 'key.new': 'half of what a crash left', folder: {} })
  chmodSync(join(dir, 'key.new'), 0o644)
  replaceFile(join(dir, 'key'), 'new', 0o600)
  t.equal(readFileSync(join(dir, 'key'), 'utf8'), 'new')
  t.equal(statSync(join(dir, 'key')).mode & 0o777, 0o600)
  mkdirSync(join(dir, 'folder/full'))
  writeFileSync(join(dir, 'folder/full/file'), '')
  t.throws(() => replaceFile(join(dir, 'folder'), 'text', 0o600), {
    message: /^cannot write .*folder: illegal operation on a directory$/
  })
  t.same(readdirSync(dir).sort(), ['folder', 'key'], 'nothing is left beside it')
})
