import 'reflect-metadata' // @peculiar/x509 needs it first
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import * as x509 from '@peculiar/x509'
import t, { type Test } from 'tap'
import type { GenericContainer } from 'testcontainers'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { createPeer, type Peer } from '../support/peers.ts'
import { type Client, clientImage, type Language, startClient, startRelayPeer } from './peers.ts'
import { EDGES, type Edge, type Tracker } from './tracker.ts'

/** Tests a peer's day in each of these languages, with each of the others, at both kinds of tracker. */
export function testDay(...languages: Language[]) {
  for (const edge of Object.keys(EDGES) as Edge[]) {
    t.test(`${languages.join(', ')}; ${edge}`, { skip: skipWithoutContainers }, async (t) => {
      const images: [string, GenericContainer][] = []
      for (const language of languages) images.push([language.toLowerCase(), await clientImage(language)])
      const tracker = await EDGES[edge](t)
      const clients: Client[] = []
      for (const [name, image] of images) clients.push(await startClient(t, image, tracker, name))
      const node = await startRelayPeer(t, tracker, 'node')
      for (const client of clients) {
        await t.test(`${client.email} has a certificate that others accept`, (t) => testCertificate(t, client))
        await t.test(`${client.email} calls`, (t) => testCalls(t, client, clients, node))
        await t.test(`${client.email} refuses strangers`, (t) => testStrangers(t, client))
        await t.test(`${client.email} is not fooled by an impostor`, (t) => testImpostor(t, client, tracker))
        await t.test(`${client.email} sends nothing to a peer that does not accept`, (t) =>
          testRefusals(t, client, tracker)
        )
        await t.test(`${client.email} reports what is wrong`, (t) => testErrors(t, client))
      }
      const go = clients[languages.indexOf('Go')]
      if (go) await t.test('a stolen certificate is no use without its key', (t) => testForger(t, go, clients, tracker))
      await t.test('clients see each other come and go', (t) => testWatching(t, clients, node))
    })
  }
}

async function testCertificate(t: Test, { email, read }: Client) {
  const pem = await read('/peer/cert.pem')
  const parsed = new x509.X509Certificate(pem)
  t.match(parsed.getExtension(x509.BasicConstraintsExtension), { ca: false, critical: true })
  t.match(parsed.getExtension(x509.KeyUsagesExtension), { usages: x509.KeyUsageFlags.digitalSignature, critical: true })
  const certificate = new X509Certificate(pem)
  t.same(certificate.keyUsage?.toSorted(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'], 'server and client')
  t.match(certificate.subjectAltName, `email:${email}`)
  t.ok(certificate.verify(certificate.publicKey), 'self-signed')
  const days = (from: Date, to: Date) => Math.round((to.getTime() - from.getTime()) / 86_400_000)
  t.equal(days(certificate.validFromDate, new Date()), 1, 'slow clocks')
  t.equal(days(new Date(), certificate.validToDate), 365)
}

async function testCalls(t: Test, client: Client, others: Client[], node: RelayPeer) {
  for (const other of others) {
    const { exitCode, output } = await client.run(['call', other.email, 'hello, you'])
    t.equal(exitCode, 0, output)
    t.match(output, `connected to ${other.email} at ${other.address}`)
    t.match(output, `${other.email}: "${other.email} has read \\"hello, you\\""`)
    await other.printed(`${client.email}: "hello, you"\n`)
  }

  const calling = client.run(['call', node.email, 'hello, Node'])
  await node.up.printed(`${client.email}: hello, Node\n`)
  node.up.child.stdin.write('hello yourself\n')
  t.match(await calling, { exitCode: 0, output: `${node.email}: "hello yourself"` })

  const called = node.connect(client.email)
  called.child.stdin.write('hello from Node\n')
  await called.printed(`${client.email} has read "hello from Node"\n`)
  called.child.kill('SIGINT')
  await called.ended
  await client.printed(`${node.email}: "hello from Node"\n`)
}

/** Callers that the tracker does not know. */
async function testStrangers(t: Test, client: Client) {
  const call = async (as: Partial<Peer>, protocol = 'relay-peer/2') => {
    const socket = connect({
      host: client.address,
      port: portOf(client),
      ...(as.certificate && { cert: as.certificate, key: as.privateKey as string }),
      ALPNProtocols: [protocol],
      rejectUnauthorized: false
    })
    t.teardown(() => socket.destroy())
    let answer = ''
    socket
      .on('error', () => {})
      .on('data', (data) => {
        answer += data
      })
    await new Promise((resolve) => socket.on('close', resolve)) // `once` would fail on an error before that
    return answer
  }
  const refusals = () => client.output().match(/refused a caller from .+/g) ?? []
  const refusedAfter = async (before: string[]) => {
    const all = await eventually(
      async () => refusals(),
      ({ length }) => length > before.length
    )
    return all.at(-1)
  }
  const stranger = await createPeer('stranger')
  const before = refusals()
  t.equal(await call(stranger), 'refused not_online\n', 'unknown to the tracker')
  t.match(await refusedAfter(before), /\(peer_not_found\)/)
  for (const [as, protocol] of [[{}], [stranger, 'relay-peer/1']] as [Partial<Peer>, string?][]) {
    const before = refusals()
    t.equal(await call(as, protocol), '', 'without a certificate, or in the words of an earlier version')
    await refusedAfter(before)
  }
}

/** The peer is the right one, but does not say that it accepts the call. */
async function testRefusals(t: Test, client: Client, { relay, host }: Tracker) {
  const callee = await createPeer(`callee-of-${client.email.split('@')[0]}`)
  await relay.register(callee, { as: callee })
  let verdict = ''
  let received = ''
  const server = createServer(
    { cert: callee.certificate, key: callee.privateKey, ALPNProtocols: ['relay-peer/2'] },
    (socket) => {
      socket
        .on('error', () => {})
        .on('data', (data) => {
          received += data
        })
      socket.end(verdict)
    }
  )
  await once(server.listen(0, host), 'listening')
  t.teardown(() => server.close())
  await relay.ready(callee, { port: (server.address() as AddressInfo).port, addresses: [host] })
  const silence = `error: ${callee.email} did not say whether it accepts the call`
  for (const [said, output] of Object.entries({
    'refused declined\n': `error: ${callee.email} refused the call: "declined"\n`,
    'refused \u001b[2Jbusy\n': `error: ${callee.email} refused the call: "\\`,
    'hello\n': silence,
    [`accepted${' '.repeat(64)}\n`]: silence,
    accepted: silence,
    '': silence
  })) {
    verdict = said
    const ended = await client.run(['call', callee.email, 'a secret'])
    t.equal(ended.exitCode, 1)
    t.ok(ended.output.includes(output), `${JSON.stringify(said)}: ${ended.output}`)
  }
  t.equal(received, '')
  await relay.withdraw(callee)
}

/** A peer answers that is not the one that the tracker names. */
async function testImpostor(t: Test, client: Client, { relay }: Tracker) {
  const victim = await createPeer(`victim-of-${client.email.split('@')[0]}`)
  await relay.register(victim, { as: victim })
  await relay.ready(victim, { port: portOf(client), addresses: [client.address] })
  const { exitCode, output } = await client.run(['call', victim.email, 'a secret'])
  t.equal(exitCode, 1)
  t.match(output, new RegExp(`the peer that answered .*is not ${victim.email}`))
  t.notMatch(client.output(), 'a secret')
}

/** A forger that presents the very certificate that the tracker names, which is public, but has another key. */
async function testForger(t: Test, { container, address }: Client, clients: Client[], { relay }: Tracker) {
  const victim = await createPeer('victim')
  await relay.register(victim, { as: victim })
  await relay.ready(victim, { port: 7777, addresses: [address] })
  await container.copyFilesToContainer([{ source: 'test/clients/forger.go', target: '/tmp/forger.go' }])
  await container.copyContentToContainer([{ content: victim.certificate, target: '/tmp/victim.pem' }])
  const shell = async (script: string) => (await container.exec(['sh', '-c', script])).output
  t.equal(await shell('cd /tmp && go build -o forger forger.go && ./forger victim.pem > log 2>&1 &'), '')
  const log = () => shell('cat /tmp/log')
  await eventually(log, (text) => text.startsWith('listening'))
  for (const client of clients) {
    const called = await shell(`/tmp/forger /tmp/victim.pem ${client.address}:${portOf(client)}`)
    t.match(called, /^the call failed/, `${client.email} accepts no call`)
    t.notMatch(client.output(), `${victim.email} called`)
    t.match(await client.run(['call', victim.email, 'a secret']), { exitCode: 1 }, `${client.email} sends nothing`)
  }
  t.notMatch(await log(), 'a secret')
  await relay.withdraw(victim)
}

function portOf(client: Client) {
  return Number(client.output().match(/is online at port (\d+)/)?.[1])
}

async function testErrors(t: Test, { container, read, run, email }: Client) {
  const refused = (code: string) => ({ exitCode: 1, output: new RegExp(`error: .+ \\(${code}\\)\n`) })
  t.match(await run(['call', 'nobody@example.com', 'hello']), refused('peer_not_found'))
  t.match(await run(['listen'], { dir: '/other' }), refused('email_taken'))
  const idle = { dir: '/idle', as: `idle-${email}` }
  t.match(await run(['call', email, 'hello'], idle), refused('not_online'))
  const { exitCode, output } = await run(['listen'], { ca: '/idle/cert.pem' })
  t.equal(exitCode, 1, 'a tracker that the authority does not vouch for')
  t.match(output, /error: .*certificate/i)
  await container.exec(['sh', '-c', 'mkdir /lost && echo key > /lost/key.pem'])
  t.match(await run(['listen'], { dir: '/lost' }), { exitCode: 1, output: /error: .*exists/i })
  t.equal(await read('/lost/key.pem'), 'key\n', 'no key is ever replaced, even without its certificate')
}

async function testWatching(t: Test, clients: Client[], node: RelayPeer) {
  const [first] = clients as [Client]
  for (const client of clients) {
    await client.printed('online now: ')
    await client.printed(`online: ${node.email}\n`)
  }
  for (const client of clients.slice(1)) {
    await client.stop()
    await first.printed(`offline: ${client.email}\n`)
  }
  node.up.child.kill('SIGINT')
  await first.printed(`offline: ${node.email}\n`)
  t.notMatch(first.output(), 'event stream lost')
}

type RelayPeer = Awaited<ReturnType<typeof startRelayPeer>>
