import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { fixture } from '../support/fixtures.ts'
import { manyCertificates } from '../support/many-certificates.ts'
import { addPeers } from '../support/many-peers.ts'
import { createPeer, registerPeer, signRotation } from '../support/peers.ts'
import { startAdmin } from './helper.ts'

const jsonLines = (...values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')

t.test('an export makes the same clients where it is imported', async (t) => {
  const from = await startAdmin(t)
  const { relay } = await startApi(t, { database: from.url })
  const [alice, bob, carol] = [
    await registerPeer(relay, 'alice'),
    await createPeer('bob'),
    await registerPeer(relay, 'carol')
  ]
  const next = await createPeer('next')
  await relay.certificate(carol, next, signRotation(carol, next))
  await relay.ready(next)
  await relay.register(bob, { as: bob })
  await from.sql`update clients set revoked_at = now(), revocation_reason = 'ü "ß"', email_verified_at = now() where email = ${alice.email}`

  const file = join(from.cwd, 'clients.jsonl')
  t.same(await from.admin(['export', file]), { code: 0, stdout: '', stderr: '3 clients exported\n' })
  t.equal(statSync(file).mode & 0o777, 0o600)
  const text = readFileSync(file, 'utf8')
  const [first, second, third] = text.split('\n').map((line) => line && JSON.parse(line))
  t.same(Object.keys(first).sort(), [
    'certificate',
    'created_at',
    'email',
    'email_verified_at',
    'id',
    'revocation_reason',
    'revoked_at'
  ])
  t.same(first.certificate, alice.certificate)
  t.same(Object.keys(second).sort(), ['certificate', 'created_at', 'email', 'id', 'proven_at'])
  t.same(third.rotations, [{ certificate: next.certificate, signature: String(third.rotations[0].signature) }])
  t.match(await from.admin(['export', file]), { code: 1, stderr: /EEXIST/ }, 'nothing is overwritten')
  t.equal(readFileSync(file, 'utf8'), text)
  t.match(await from.admin(['export', 'missing/out']), { code: 1, stderr: /^relay-admin: ENOENT/ })
  await from.sql`alter table clients rename to away`
  for (const args of [['export'], ['export', join(from.cwd, 'out')]]) {
    t.match(await from.admin(args), { code: 1, stderr: /relation "clients" does not exist/ })
  }
  t.notOk(existsSync(join(from.cwd, 'out')), 'half an export is none')

  const to = await startAdmin(t)
  const added = await to.admin(['import'], { input: text })
  t.same(added, {
    code: 0,
    stdout: '3 added, 0 already there, 0 expired and skipped, 0 refused\n',
    stderr: '3 lines read\n'
  })
  t.same((await to.admin(['export'])).stdout, text)
  t.match(
    await to.admin(['import', '--json'], { input: text }),
    {
      code: 0,
      stdout: '{"added":0,"present":3,"expired":0,"refused":0}\n'
    },
    'again is harmless'
  )
  const there = await startApi(t, { database: to.url })
  t.match(await there.relay.ready(bob), { status: 200 })
  await there.relay.ready(next)
  t.same((await there.relay.lookup(bob, carol.email)).body.rotations, third.rotations)
  t.match(await there.relay.ready(alice), { status: 401, body: { code: 'certificate_revoked' } })
})

t.test('import checks each line like a registration', async (t) => {
  const { sql, admin } = await startAdmin(t)
  const [alice, bob, carol] = [await createPeer('alice'), await createPeer('bob'), await createPeer('carol')]
  const old = await createPeer('old', { notBefore: new Date('2020-01-01'), days: 10 })
  const registration = ({ email, certificate }: typeof alice) => ({ email, certificate })
  const id = 'ade53484-14ce-4025-8dbe-2b61e0740bb8'
  const input = Buffer.concat(
    [
      jsonLines({ ...registration(alice), email: 'Alice@Example.com', id }),
      jsonLines(registration(alice)),
      'no JSON\n',
      '\n',
      Buffer.from([0xff, 0x0a]),
      '{"email":"a@example.com","email":"b@example.com"}\n',
      jsonLines(
        { email: 'no address', certificate: bob.certificate },
        { email: bob.email },
        { ...registration(bob), admin: true },
        { ...registration(bob), id: 'none' },
        { ...registration(bob), created_at: '0000-01-01T00:00:00Z' },
        { ...registration(bob), revocation_reason: 'why' },
        { ...registration(bob), revocation_reason: '\0', revoked_at: '2026-01-01T00:00:00Z' },
        { ...registration(bob), certificate: bob.privateKey },
        { ...registration(bob), certificate: fixture('rsa-1024.crt') },
        registration(old),
        { ...registration(old), revoked_at: '2020-01-02T00:00:00Z' },
        { ...registration(bob), email: alice.email },
        { ...registration(alice), email: bob.email },
        { ...registration(bob), id },
        { ...registration(bob), rotations: [] },
        { ...registration(bob), rotations: [{ certificate: bob.certificate }] }
      ),
      `${' '.repeat(82_000)}\n`,
      `${' '.repeat(170_000)}\n`,
      JSON.stringify(registration(carol))
    ].map((part) => Buffer.from(part as string))
  )
  const { code, stdout, stderr } = await admin(['import'], { input })
  t.equal(code, 1)
  t.equal(stdout, '3 added, 1 already there, 1 expired and skipped, 20 refused\n')
  const codes = [...stderr.matchAll(/^line (\d+): .+ \((\w+)\)$/gm)].map(([, line, reason]) => [Number(line), reason])
  t.same(
    codes.sort(([a], [b]) => Number(a) - Number(b)),
    [
      [3, 'bad_request'],
      [4, 'bad_request'],
      [5, 'bad_request'],
      [6, 'bad_request'],
      [7, 'invalid_email'],
      [8, 'invalid_certificate'],
      [9, 'invalid_request'],
      [10, 'invalid_id'],
      [11, 'invalid_created_at'],
      [12, 'invalid_revoked_at'],
      [13, 'invalid_revocation_reason'],
      [14, 'private_key_sent'],
      [15, 'weak_key'],
      [18, 'email_taken'],
      [19, 'certificate_taken'],
      [20, 'id_taken'],
      [21, 'invalid_rotations'],
      [22, 'invalid_rotations'],
      [23, 'line_too_long'],
      [24, 'line_too_long']
    ]
  )
  t.notMatch(stderr, 'PRIVATE')
  t.match(stderr, /relay-admin: lines that were refused: 20\n$/)
  t.match(await sql`select id, email, revoked_at from clients order by email`, [
    { id, email: alice.email, revoked_at: null },
    { email: carol.email, revoked_at: null },
    { email: old.email, revoked_at: Date }
  ])
  const again = await admin(['import', '--json'], { input: 'no JSON\n' })
  t.match(
    again.stderr,
    /^\{"line":1,"error":".+","code":"bad_request"\}\n1 lines read\n\{"error":"lines that were refused: 1","code":"failed"\}\n$/
  )
})

t.test('an export of more than fits in memory shows its progress', async (t) => {
  const { sql, admin, cwd, onTerminal } = await startAdmin(t)
  await addPeers(sql, 21_000)
  const { code, stdout, stderr } = await admin(['export'])
  t.equal(code, 0)
  t.equal(stdout.split('\n').length, 21_001)
  t.equal(stderr, '10000 clients exported\n20000 clients exported\n21000 clients exported\n')
  const shown = await onTerminal('export out')
  t.match(shown, {
    code: 0,
    output: /^1000 clients exported\r2000 [^\n]*21000 clients exported\r21000 clients exported\r\n$/
  })
  t.equal(readFileSync(join(cwd, 'out'), 'utf8'), stdout)
})

t.test('an import may have more lines than one statement adds', async (t) => {
  const { sql, admin, cwd } = await startAdmin(t)
  const certificates = await Array.fromAsync(manyCertificates(1500))
  const lines = certificates.map((certificate, n) => ({ email: `peer-${n}@example.com`, certificate }))
  writeFileSync(join(cwd, 'in'), jsonLines(...lines))
  t.match(await admin(['import', join(cwd, 'in')]), { code: 0, stdout: /^1500 added/ })
  t.equal((await sql`select from clients`).count, 1500)
})
