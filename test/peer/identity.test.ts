import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runRelayPeer } from '../../peer/src/command/relay-peer.ts'
import { Identity } from '../../peer/src/identity/identity.ts'
import { RelayPeer } from '../../peer/src/index.ts'
import { runInProcess } from '../support/command.ts'
import { createPeer } from '../support/peers.ts'

const ALICE = { tracker: 'https://127.0.0.1:1', email: 'alice@example.com' }
const BOB = { ...ALICE, email: 'bob@example.com' }

/** A registered identity. */
async function create(t: Test, name = 'alice') {
  const dir = join(t.testdir({}), name)
  const identity = await Identity.open(dir, ALICE)
  identity.claim()
  return { dir, identity, pem: readFileSync(join(dir, 'identity.pem'), 'utf8') }
}

function withKey(pem: string, key: string) {
  return pem.slice(pem.indexOf('-----BEGIN CERTIFICATE')) + key
}

/** Files that are damaged in ways that happen, made from a good one. */
function damage(text: string): Record<string, string | Buffer> {
  return {
    empty: '',
    truncated: text.slice(0, text.length / 2),
    'a power failure': Buffer.alloc(text.length),
    binary: Buffer.from(text, 'base64'),
    'UTF-16': Buffer.from(`\ufeff${text}`, 'utf16le')
  }
}

t.test('a damaged file is reported, and the advice works', async (t) => {
  const { dir, pem } = await create(t)
  const { privateKey, certificate } = await createPeer()
  const text = readFileSync(join(dir, 'settings.json'), 'utf8')
  const damaged: Record<string, Record<string, string | Buffer>> = {
    'identity.pem': {
      ...damage(pem),
      'the key of another certificate': withKey(pem, privateKey),
      'no key': certificate,
      'no certificate': privateKey
    },
    'settings.json': {
      ...damage(text),
      list: '[]',
      null: 'null',
      'no tracker': '{"email":"alice@example.com"}',
      'a wrong tracker': JSON.stringify({ ...ALICE, tracker: 'relay' }),
      'a wrong ca': JSON.stringify({ ...ALICE, ca: 'relay' })
    }
  }
  const command = (...args: string[]) => runInProcess(runRelayPeer, args, { env: { RELAY_PEER_DIR: dir } })
  for (const [file, contents] of Object.entries(damaged)) {
    for (const [what, content] of Object.entries(contents)) {
      await Identity.open(dir, ALICE)
      writeFileSync(join(dir, file), content)
      await t.rejects(RelayPeer.open({ dir, ...ALICE }), { code: 'identity_damaged', message: join(dir, file) }, what)
      const { stderr } = await command('list')
      t.match(stderr, /relay-peer forget, then relay-peer init/)
      t.match(await command('forget', '--yes'), { code: 0 })
      t.notOk(existsSync(dir), what)
    }
  }
})

t.test('another authority for the tracker is saved', async (t) => {
  const { dir } = await create(t)
  const { certificate: ca } = await createPeer()
  await (await RelayPeer.open({ dir, ...ALICE, ca })).close()
  t.equal(Identity.load(dir).settings.ca, ca)
  await (await RelayPeer.open({ dir })).close()
  t.equal(Identity.load(dir).settings.ca, ca, 'and kept')
})

t.test('missing settings are made again', async (t) => {
  const { dir, identity } = await create(t)
  rmSync(join(dir, 'settings.json'))
  t.throws(() => Identity.load(dir), { code: 'identity_damaged', message: /missing/ })
  await t.rejects(Identity.open(dir, BOB), { code: 'other_identity' }, 'unless the key is of somebody else')
  const { credentials } = await Identity.open(dir, ALICE)
  t.equal(credentials.fingerprint, identity.credentials.fingerprint)
})

t.test('an identity that another tool has made, or an editor has saved, is usable', async (t) => {
  const { dir, pem, identity } = await create(t)
  const path = join(dir, 'identity.pem')
  for (const text of [pem.replaceAll('\n', '\r\n'), `\ufeff${pem.trim()}`, `Bag Attributes\n${pem}`]) {
    writeFileSync(path, text)
    t.same(Identity.load(dir).credentials, identity.credentials)
  }
  const settings = readFileSync(join(dir, 'settings.json'), 'utf8')
  writeFileSync(join(dir, 'settings.json'), `\ufeff${settings.replaceAll('\n', '\r\n')}`)
  t.match(Identity.load(dir).settings, ALICE)

  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, encoding: 'utf8', stdio: 'pipe' })
  const request = ['req', '-x509', '-subj', '/CN=Alice', '-key', 'tool.key', '-days', '9']
  const keys: Record<string, string[]> = {
    'PKCS #8': ['genpkey', '-algorithm', 'rsa', '-out', 'tool.key'],
    'PKCS #1': ['rsa', '-in', 'tool.key', '-traditional', '-out', 'tool.key'],
    'SEC1 with parameters': ['ecparam', '-name', 'prime256v1', '-genkey', '-out', 'tool.key'],
    Ed25519: ['genpkey', '-algorithm', 'ed25519', '-out', 'tool.key']
  }
  for (const [kind, make] of Object.entries(keys)) {
    openssl(...make)
    writeFileSync(path, openssl(...request) + readFileSync(join(dir, 'tool.key'), 'utf8'))
    rmSync(join(dir, 'settings.json'))
    const { credentials } = await Identity.open(dir, ALICE)
    t.match(credentials.privateKey, /^-----BEGIN PRIVATE KEY-----/, kind)
    t.match(await Identity.load(dir).makeNext(), { privateKey: /BEGIN PRIVATE KEY/ })
    rmSync(join(dir, 'next.pem'))
  }
  openssl('pkcs8', '-topk8', '-in', 'tool.key', '-passout', 'pass:secret', '-out', 'locked.key')
  writeFileSync(path, withKey(pem, readFileSync(join(dir, 'locked.key'), 'utf8')))
  t.throws(() => Identity.load(dir), { code: 'identity_damaged', message: /its key is encrypted/ })
})

t.test('an identity is replaced only if the tracker certainly does not have it', async (t) => {
  const { dir, identity } = await create(t)
  await t.rejects(Identity.open(dir, BOB), { code: 'other_identity' })
  identity.unclaim()
  t.equal(identity.isRegistered, false)
  const bob = await Identity.open(dir, BOB)
  t.match(bob.settings, BOB)
  t.throws(() => identity.claim(), { code: 'other_identity' }, 'a key that was replaced is never registered')
  t.throws(() => identity.save({ ca: undefined }), { code: 'other_identity' }, "nor are its settings another's")
  t.equal(bob.claim(), true)
  t.equal((await Identity.open(dir, BOB)).claim(), false)
  Identity.remove(dir)
  t.throws(() => bob.claim(), { code: 'no_identity' }, 'nor one that was deleted')
  t.equal(bob.refresh(), bob.credentials, 'what is in use stays in use')
  Identity.remove(dir)
  writeFileSync(dir, 'something else')
  bob.unclaim()
  t.equal(bob.isRegistered, false, 'nothing to say about an identity that is gone')
})

t.test('first starts of which one is faster end with its key', async (t) => {
  const dir = join(t.testdir({}), 'alice')
  const start = async () => {
    const identity = await Identity.open(dir, ALICE)
    return [identity.claim(), identity.credentials.fingerprint]
  }
  const [[isFirst, one], [isSecond, two]] = (await Promise.all([start(), start()])) as [unknown[], unknown[]]
  t.equal(one, two)
  t.not(isFirst, isSecond)
  t.same(readdirSync(dir).sort(), ['identity.pem', 'settings.json'])
})

t.test('a key without settings is that of a first start that was killed', async (t) => {
  const { dir, identity } = await create(t)
  identity.unclaim()
  rmSync(join(dir, 'settings.json'))
  t.match((await Identity.open(dir, BOB)).settings, BOB)
})

t.test('a next key that is damaged is kept aside, because the tracker may know it', async (t) => {
  const { dir, identity } = await create(t)
  const first = await identity.makeNext()
  writeFileSync(join(dir, 'next.pem'), first.certificate)
  const second = await identity.makeNext()
  t.not(second.fingerprint, first.fingerprint)
  t.equal(readFileSync(join(dir, 'next.pem.damaged'), 'utf8'), first.certificate)
  t.equal(identity.promote(second).fingerprint, second.fingerprint)
  t.same(readdirSync(dir).sort(), ['identity.pem', 'settings.json'], 'until there is another in use')
})

t.test('a file that cannot be read may be intact', async (t) => {
  const { dir, identity } = await create(t)
  for (const file of ['identity.pem', 'settings.json', 'next.pem']) {
    const kept = existsSync(join(dir, file)) && readFileSync(join(dir, file))
    rmSync(join(dir, file), { force: true })
    mkdirSync(join(dir, file)) // a test as root may read every file
    if (file === 'next.pem') await t.rejects(identity.makeNext(), { code: 'identity_unreadable' })
    else t.throws(() => Identity.load(dir), { code: 'identity_unreadable', message: join(dir, file) })
    rmSync(join(dir, file), { recursive: true })
    if (kept) writeFileSync(join(dir, file), kept)
  }
  writeFileSync(join(dir, 'file'), '')
  await t.rejects(Identity.open(join(dir, 'file', 'alice'), ALICE), { code: 'identity_not_saved' })
  t.throws(() => Identity.remove(join(dir, 'file')), { code: 'identity_not_saved', message: /could not be deleted/ })
})

t.test('a folder may have any name, and be a symbolic link', async (t) => {
  const { dir, identity } = await create(t, `Zoë’s “peer” 例 ${'x'.repeat(200)}`)
  const link = join(t.testdirName, 'link')
  symlinkSync(dir, link)
  t.equal(Identity.load(link).credentials.fingerprint, identity.credentials.fingerprint)
  const next = await Identity.load(link).makeNext()
  t.equal(identity.next()?.fingerprint, next.fingerprint)
  Identity.remove(link)
  t.same(readdirSync(dir), [])
})

t.test('what is half-written is deleted when nobody can be writing it any more', async (t) => {
  const { dir } = await create(t)
  for (const file of ['.next.pem.1234abcd', '.settings.json.1234abcd', 'notes.txt']) writeFileSync(join(dir, file), '')
  utimesSync(join(dir, '.next.pem.1234abcd'), 0, 0)
  utimesSync(join(dir, 'notes.txt'), 0, 0)
  Identity.load(dir)
  t.same(readdirSync(dir).sort(), ['.settings.json.1234abcd', 'identity.pem', 'notes.txt', 'settings.json'])
  symlinkSync('nowhere', join(dir, '.next.pem.5678abcd'))
  t.ok(Identity.load(dir), 'what cannot be deleted is left alone')
  Identity.remove(dir)
  t.same(readdirSync(dir), ['notes.txt'])
})
