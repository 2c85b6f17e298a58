import t from 'tap'
import { RelayPeer } from '../../peer/src/index.ts'
import { startServer, startTracker } from './helper.ts'

t.test('an application that is started three times at once registers one key', async (t) => {
  const { open, sql } = await startTracker(t)
  const peers = await Promise.all([open('alice'), open('alice'), open('alice')])
  await Promise.all(peers.map((peer) => peer.register()))
  for (const peer of peers) t.same(await peer.list(), [])
  t.match(await sql`select from clients`, { count: 1 })
})

t.test('a peer that was forgotten, here or by another process, is not registered again', async (t) => {
  const { up, dirOf, sql } = await startTracker(t)
  const alice = await up('alice')
  await alice.forget()
  t.same(await sql`select from clients`, [])
  await t.rejects(alice.register(), { code: 'closed' })

  const bob = await up('bob')
  await (await RelayPeer.open({ dir: dirOf('bob') })).forget()
  await t.rejects(bob.update({ ttl: 60 }), { code: 'no_identity' }, 'its key would be lost')
  await t.rejects(bob.register(), { code: 'no_identity' })
  t.same(await sql`select from clients`, [])
})

t.test('a tracker that refuses leaves an identity that may be replaced; one that says nothing does not', async (t) => {
  const answers = [
    [409, 'email_taken'],
    [429, 'too_many_requests'],
    [503, 'service_unavailable']
  ] as const
  for (const [status, code] of answers) {
    const { url, ca } = await startServer(t, (_, response) => {
      response.writeHead(status).end(JSON.stringify({ error: 'no', code }))
    })
    const dir = `${t.testdir({})}/alice`
    const peer = await RelayPeer.open({ dir, tracker: url, email: 'alice@example.com', ca })
    t.teardown(() => peer.close())
    await t.rejects(peer.register(), { code })
    t.equal(peer.isRegistered, code !== 'email_taken', code)
    const other = RelayPeer.open({ dir, tracker: url, email: 'bob@example.com', ca })
    if (code === 'email_taken') t.equal((await other).email, 'bob@example.com')
    else await t.rejects(other, { code: 'other_identity' })
  }
})
