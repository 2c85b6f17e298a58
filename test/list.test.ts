import t from 'tap'
import { ANNOUNCEMENT, createDatabase, createPeer, registerPeer, startApi } from './helper.ts'

t.test('everyone online but the caller, by e-mail address', async (t) => {
  const { url: database, sql } = await createDatabase(t)
  const { relay } = await startApi(t, { database })
  const peers = []
  for (const name of ['dora', 'alice', 'carol', 'bob', 'offline']) peers.push(await registerPeer(relay, name))
  const [dora, alice, carol, bob] = peers as [(typeof peers)[0], ...typeof peers]
  t.same((await relay.list(alice)).body, [], 'nobody is online yet')

  for (const peer of [dora, alice, carol, bob]) await relay.ready(peer)
  await sql`update broadcasts set last_heartbeat = now() - interval '2 s', expires_at = now() - interval '1 ms'
    where client_id = (select id from clients where email = ${carol?.email as string})`
  const { status, body } = await relay.list(alice)
  t.equal(status, 200)
  t.match(body, [
    { ...ANNOUNCEMENT, email: 'bob@example.com', fingerprint: bob?.fingerprint, last_seen: String, expires_at: String },
    { ...ANNOUNCEMENT, email: 'dora@example.com', fingerprint: dora.fingerprint, last_seen: String, expires_at: String }
  ])
  t.equal(body.length, 2)
  t.same((await relay.lookup(alice, 'bob@example.com')).body, body[0], 'as lookup returns them')
})

t.test('who is not registered gets no list', async (t) => {
  const { relay } = await startApi(t)
  t.match(await relay.list(undefined), { status: 401, body: { code: 'certificate_required' } })
  t.match(await relay.list(await createPeer()), { status: 401, body: { code: 'certificate_unknown' } })
})
