import t from 'tap'
import { startApi } from '../support/api.ts'
import { addPeers } from '../support/many-peers.ts'
import { registerPeer } from '../support/peers.ts'
import { auditIn, startAdmin } from './helper.ts'

t.test('the admin command in a pipeline ends as SIGPIPE ends others, when head has read enough', async (t) => {
  const { sql, inShell } = await startAdmin(t)
  await addPeers(sql, 5000)
  const quiet = { codes: '141 0', stderr: '' }
  t.match(await inShell('command export | head -1'), { ...quiet, stdout: /^\{"id":.*\}\n$/ })
  t.match(await inShell('command export 2>&1 | head -1'), { ...quiet, stdout: /^\{"id":.*\}\n$/ })
  for (const list of ['clients list', 'broadcasts list']) {
    t.match(await inShell(`command ${list} --limit 1000 | head -1`), { ...quiet, stdout: /^E-MAIL .*\n$/ }, list)
    t.match(await inShell(`command ${list} --limit 1000 --json | head -c 1`), { ...quiet, stdout: '{' }, list)
  }
  t.match(await inShell('cat "$BASH" "$BASH" | head -c 1'), quiet, 'as cat does')
})

t.test('every verb ends with exit code 141 and without a message when nobody reads its output', async (t) => {
  const { url: database, sql, unwritable } = await startAdmin(t)
  const { relay } = await startApi(t, { database })
  const { email } = await registerPeer(relay, 'alice')
  const unheard = { code: 141, stderr: '' }
  for (const line of ['--help', 'stats', 'clients list', 'broadcasts list', `clients show ${email}`, 'export']) {
    for (const more of [[], ['--json']]) {
      const verb = [...line.split(' '), ...more]
      t.same(await unwritable('EPIPE', ...verb), unheard, verb.join(' '))
    }
  }
  t.same(await unwritable('EPIPE', 'import'), { code: 141, stderr: '0 lines read\n' })
  await sql`delete from schema_migrations where version = 3`
  for (const verb of [['doctor'], ['doctor', '--json']]) {
    t.same(await unwritable('EPIPE', ...verb), unheard, verb.join(' '))
  }
})

t.test('what was to be changed is changed when nobody reads the output', async (t) => {
  const { url: database, sql, unwritable } = await startAdmin(t)
  const { relay } = await startApi(t, { database })
  const peers = await Promise.all(['alice', 'bob', 'carol'].map((name) => registerPeer(relay, name)))
  const emails = peers.map(({ email }) => email)
  for (const [event, ...verb] of [
    ['revoke', 'clients', 'revoke'],
    ['restore', 'clients', 'restore'],
    ['delete', 'clients', 'delete', '--yes']
  ] as const) {
    const { code, stderr } = await unwritable('EPIPE', ...verb, ...emails)
    t.equal(code, 141, event)
    t.match(auditIn(stderr), [{ event }, { event }, { event }])
    t.equal(stderr.trim().split('\n').length, 3, 'and nothing else is said')
  }
  t.same(await sql`select from clients`, [])
})

t.test('another failure to write is reported as it is', async (t) => {
  const { sql, unwritable } = await startAdmin(t)
  await addPeers(sql, 1)
  const full = { code: 1, stderr: 'relay-admin: ENOSPC: write\n' }
  t.same(await unwritable('ENOSPC', 'stats'), full)
  t.same(await unwritable('ENOSPC', 'export'), full)
})
