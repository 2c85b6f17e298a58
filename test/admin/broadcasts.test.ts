import t from 'tap'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { registerPeer } from '../support/peers.ts'
import { watchAs } from '../support/watch.ts'
import { auditIn, startAdmin } from './helper.ts'

t.test('broadcasts list shows who is online, and drop takes a client offline', async (t) => {
  const { url, sql, admin, json } = await startAdmin(t)
  const { relay, origin } = await startApi(t, { database: url })
  const peers = []
  for (const name of ['alice', 'bob', 'carol', 'dora']) peers.push(await registerPeer(relay, name))
  const [alice, bob, carol] = peers.map(({ email }) => email)
  for (const peer of peers) await relay.ready(peer)
  await sql`update clients set revoked_at = now() where email = ${String(carol)}`
  await sql`update broadcasts set last_announced_at = now() - interval '2 s', expires_at = now() from clients
    where client_id = clients.id and email = 'dora@example.com'`
  const all = await json('broadcasts', 'list')
  t.match(all, [
    { broadcasts: [{ email: alice, ...ANNOUNCEMENT, observed_address: '127.0.0.1' }, { email: bob }], next: null }
  ])
  t.equal(all[0].broadcasts.length, 2, 'who is revoked is not online')
  t.match(await admin(['broadcasts', 'list', '--limit', '1']), {
    stdout:
      /^E-MAIL +PORT +ADDRESSES +SEEN AT +ANNOUNCED +UNTIL\nalice@example.com +54321 +192.168.1.20 2001:db8::20 +127.0.0.1 +\S+Z +\S+Z\n$/,
    stderr: 'There are more: --after alice@example.com\n'
  })
  const rest = await json('broadcasts', 'list', '--after', String(alice), '--email', 'bob')
  t.match(rest, [{ broadcasts: [{ email: bob }], next: null }])

  const stream = await watchAs(t, origin, peers[1] as (typeof peers)[0])
  await stream.next()
  t.match(await admin(['broadcasts', 'drop', String(alice)]), { code: 4 })
  const dropped = await admin(['broadcasts', 'drop', String(alice), '--yes'])
  t.match(dropped, { code: 0, stdout: 'alice@example.com is offline\n' })
  t.match(auditIn(dropped.stderr), [{ audit: true, event: 'drop', fingerprint: peers[0]?.fingerprint }])
  t.same(await stream.next(), { name: 'offline', data: { email: alice } })
  t.same(await admin(['broadcasts', 'drop', String(alice), '--yes']), {
    code: 0,
    stdout: 'alice@example.com was already offline\n',
    stderr: ''
  })
  await sql`update broadcasts set observed_address = null`
  t.match(await admin(['broadcasts', 'list']), { stdout: /bob@example.com .* - / })
  t.match(await relay.ready(peers[0]), { status: 200 }, 'until it announces itself again')
})
