import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { createPool } from '../../src/postgres/pool.ts'
import { openClient } from '../../src/postgres/postgres-client.ts'
import { connect } from '../../src/postgres/postgres-driver.ts'
import { freePort } from '../../src/runtime/listen-port.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { connectionsOf } from '../support/connections.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { startFaultyNetwork } from '../support/network.ts'
import { registerPeer } from '../support/peers.ts'
import { startPrimary } from '../support/postgres-servers.ts'

t.test('several hosts in DATABASE_URL', { skip: skipWithoutContainers }, async (t) => {
  const { primary, startStandby, urlOf } = await startPrimary(t)
  const standby = await startStandby()
  const [primaryHost, standbyHost] = [primary.host, standby.host]
  const nobody = `127.0.0.1:${await freePort('127.0.0.1')}`
  const isStandby = async (url: string) => {
    const pool = createPool(url)
    const [row] = await pool.query<[{ standby: boolean }]>()`select pg_is_in_recovery() as standby`.finally(pool.end)
    return row.standby
  }

  await t.test('the primary is found wherever it is in the list', async (t) => {
    for (const hosts of [
      [primaryHost, standbyHost],
      [standbyHost, primaryHost],
      [nobody, standbyHost, primaryHost]
    ]) {
      t.equal(await isStandby(urlOf(...hosts)), false)
      t.equal(await isStandby(`${urlOf(...hosts)}?target_session_attrs=read-write`), false)
    }
  })

  await t.test('a silent host delays nobody', async (t) => {
    const silent = await startFaultyNetwork(t, urlOf(primaryHost))
    await silent.set('freeze')
    const api = await startApi(t, { database: urlOf(new URL(silent.url).host, primaryHost) })
    const alice = await registerPeer(api.relay, 'alice')
    t.equal((await api.relay.ready(alice)).status, 200)
  })

  await t.test('a standby or any host is used if the URL asks for that', async (t) => {
    t.equal(await isStandby(`${urlOf(primaryHost, standbyHost)}?target_session_attrs=standby`), true)
    t.equal(await isStandby(`${urlOf(standbyHost, nobody)}?target_session_attrs=any`), true)
    t.equal(await isStandby(urlOf(standbyHost)), true, 'a single host is used as it is')
  })

  await t.test('an API without a usable host answers 503, and the error says why', async (t) => {
    const message = new RegExp(
      `^none of the database hosts can be used: ${standbyHost} \\(not the primary\\), ${nobody} \\(.*ECONNREFUSED.*\\)$`
    )
    await t.rejects(isStandby(urlOf(standbyHost, nobody)), { code: 'DATABASE_NOT_FOUND', message })
    await t.rejects(isStandby(`${urlOf(standbyHost)}?target_session_attrs=primary`), { code: 'CONNECTION_DESTROYED' })
    const api = await startApi(t, { database: urlOf(standbyHost, nobody) })
    const response = await fetch(`${api.internal}/readyz`)
    t.equal(response.status, 503)
    t.same(await response.json(), {
      error: 'the service is unavailable, try again soon',
      code: 'service_unavailable'
    })
  })

  await t.test('a search that is given up leaves no connection', async (t) => {
    const server = createServer((socket) => socket.on('error', () => {}))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.teardown(() => server.close())
    const silent = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const count = () => connectionsOf(server)
    const client = openClient(urlOf(silent, nobody), { max: 1 })
    const refused = t.rejects(client.sql`select 1`)
    await eventually(count, (open) => open > 0)
    client.discard()
    await refused
    await eventually(count, (open) => open === 0)
  })

  await t.test('an API and its watchers follow a failover by themselves', async (t) => {
    const api = await startApi(t, { database: urlOf(primaryHost, standbyHost) })
    const bob = await registerPeer(api.relay, 'bob')
    const carol = await registerPeer(api.relay, 'carol')
    t.equal((await api.relay.ready(bob)).status, 200)
    const stop = new AbortController()
    t.teardown(() => stop.abort())
    const stream = await fetch(`${api.origin}/api/relay/broadcast/events`, {
      headers: { 'x-ssl-cert': encodeURIComponent(carol.certificate) },
      signal: stop.signal
    })
    let events = ''
    const reading = (async () => {
      for await (const text of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) events += text
    })().catch(() => {})
    await eventually(
      async () => events,
      (all) => all.includes('bob@example.com')
    )

    const heir = connect(urlOf(standbyHost), { max: 1, statementTimeout: 0 })
    t.teardown(() => heir.end())
    await eventually(
      () => heir`select from broadcasts join clients c on c.id = client_id where email = ${bob.email}`,
      ({ count }) => count === 1
    )
    await primary.stop()
    const { status } = await api.relay.ready(bob)
    t.equal(status, 503)
    await heir`select pg_promote()`
    await eventually(
      () => api.relay.ready(bob, { ...ANNOUNCEMENT, port: 1 }),
      ({ status }) => status === 200
    )
    await eventually(
      async () => events,
      (all) => all.split('event: list').length === 3 && all.includes('"port":1,')
    )
    t.same(await heir`select port from broadcasts join clients c on c.id = client_id where email = ${bob.email}`, [
      { port: 1 }
    ])
    stop.abort()
    await reading
  })
})
