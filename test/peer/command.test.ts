import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t from 'tap'
import { runRelayPeer } from '../../peer/src/command/relay-peer.ts'
import { runInProcess } from '../support/command.ts'
import { addPeers } from '../support/many-peers.ts'
import { createPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'
import { ANNOUNCED, HOST, startImpostor, startServer, startTracker } from './helper.ts'

t.test('two peers on one machine, from nothing, with five commands', async (t) => {
  const { command, run, init, dirOf } = await startTracker(t)
  const registered = await run('alice', ...init('alice'))
  t.match(registered, {
    code: 0,
    output: /^alice@example.com is registered at https:.*\nIdentity: .*\n.*\nNow: relay-peer up\n$/
  })
  t.match(await run('bob', ...init('bob'), '--json'), { code: 0, output: /^\{"email":"bob@example.com",/ })
  const alice = command('alice', 'up', '--host', HOST, '--address', ANNOUNCED)
  const bob = command('bob', 'up', '--host', HOST, '--address', ANNOUNCED, '--json', '--ttl', '600')
  await Promise.all([alice.printed('alice@example.com is online at port'), bob.printed('{"type":"up"')])

  const call = command('bob', 'connect', 'alice@example.com')
  await call.printed('Connected to alice@example.com at 127.0.0.1')
  call.child.stdin.write('hello \u001b[31malice\r\n')
  await alice.printed('bob@example.com: hello \uFFFD[31malice\n')
  alice.child.stdin.write('hello bob\n')
  await call.printed('hello bob\n')
  call.child.stdin.end('and good\tbye')
  t.match(await call.ended, { code: 0 })
  await alice.printed('bob@example.com: and good\tbye\nbob@example.com disconnected')

  const second = command('alice', 'connect', 'bob@example.com', '--json')
  await second.printed('"type":"connected"')
  second.child.stdin.write('hello bob\n')
  await bob.printed('{"type":"line","email":"alice@example.com","line":"hello bob"}')
  bob.child.stdin.write('stop')
  await second.printed('stop')

  t.match(await run('alice', 'up'), {
    code: 1,
    output: /process \d+ already announces this identity\n.*relay-peer down/
  })
  t.match(await run('bob', 'rotate'), { code: 0, output: /^The new fingerprint is / })
  const third = command('alice', 'connect', 'bob@example.com')
  await third.printed('Connected')

  t.match(await run('bob', 'down'), { code: 0, output: 'bob@example.com is offline\n' })
  t.match(await bob.ended, { code: 0, output: /"type":"rotated"/ })
  await Promise.all([second.ended, third.ended])
  t.notOk(existsSync(join(dirOf('bob'), 'running.sock')))
  t.match(await run('bob', 'down', '--json'), {
    code: 0,
    output: '{"email":"bob@example.com","was_up":false}\n'
  })
  const refused = await run('bob', 'connect', 'alice@example.com')
  t.match(refused, { code: 3, output: /only peers that are online\ngo online first, .*relay-peer up\n$/ })
  alice.child.kill('SIGINT')
  t.match(await alice.ended, { code: 0 })
  t.match(await run('bob', 'list'), { code: 0, output: 'Nobody else is online\n' })
})

t.test('list, lookup and watch show who is online', async (t) => {
  const tracker = await startTracker(t)
  const { command, run, init, up, onTerminal } = tracker
  await run('alice', ...init('alice'))
  const watching = [
    command('alice', 'watch'),
    command('alice', 'watch', '--json'),
    onTerminal('alice', 'watch')
  ] as const
  await Promise.all([watching[1].printed('{"type":"list","peers":[]}'), watching[2].printed('0 online; Ctrl-C ends')])
  const bob = await up('bob')
  const carol = await up('carol')
  await watching[0].printed(`online bob@example.com ${bob.port} ${HOST}\nonline carol@example.com`)
  await watching[2].printed('2 online')

  t.match(await run('alice', 'list'), {
    code: 0,
    output:
      /^E-MAIL +PORT +ADDRESSES +ANNOUNCED +UNTIL\nbob@example.com +\d+ +127\.0\.0\.1 +\d\d:\d\d:\d\d +\d\d:\d\d:\d\d\ncarol@/
  })
  t.match(JSON.parse((await run('alice', 'list', '--json')).output), [{ email: 'bob@example.com' }, {}])
  t.match(await run('alice', 'show'), {
    code: 0,
    output: /^e-mail +alice@example.com\ntracker +https:.*\nfolder .*\nfingerprint +[\w-]{43}\nuntil +2/
  })
  const { fingerprint } = bob.credentials
  t.match(await run('alice', 'lookup', 'bob@example.com'), {
    code: 0,
    output: new RegExp(
      `^e-mail +bob@example.com\nport +${bob.port}\naddresses +127.0.0.1\nfingerprint +${fingerprint}\n`
    )
  })
  t.match(JSON.parse((await run('alice', 'lookup', 'bob@example.com', '--json')).output), { fingerprint })

  await carol.close()
  await watching[0].printed('offline carol@example.com')
  await watching[1].printed('{"type":"offline","email":"carol@example.com"}')
  await watching[2].printed('1 online')
  t.match(watching[2].output(), '\u001b[H\u001b[JE-MAIL')
  await tracker.fastify.close()
  await watching[2].printed('1 online; disconnected: ')
  await tracker.restart()
  await watching[1].printed('{"type":"disconnected","reason":"the tracker')
  await up('dora')
  await watching[0].printed('online dora@example.com')
  t.equal(watching[0].output().split('online bob@').length, 2, 'of a new list only what is different')
  t.equal(watching[1].output().split('"type":"list"').length, 2)
  const late = onTerminal('alice', 'watch')
  await late.printed('2 online; Ctrl-C ends')
  late.child.stdin.write('\u0003')
  await (await tracker.open('erik')).close()
  t.match(await run('erik', 'watch'), { code: 1, output: /register again: relay-peer init/ })
  watching[0].child.kill('SIGINT')
  watching[1].child.kill('SIGINT')
  watching[2].child.stdin.write('\u0003') // Ctrl-C
  for (const { ended } of watching) t.match(await ended, { code: 0 })
})

t.test('an impostor that took over the port is refused', async (t) => {
  const { command, run, init, up } = await startTracker(t)
  await up('alice')
  await run('bob', ...init('bob'))
  await run('carol', ...init('carol'))
  const bob = command('bob', 'up', '--host', HOST, '--address', ANNOUNCED, '--json')
  await bob.printed('"type":"up"')
  const { port } = JSON.parse(bob.output())
  const carol = command('carol', 'up', '--host', HOST, '--address', ANNOUNCED)
  await carol.printed('is online')
  bob.child.kill('SIGKILL')
  await bob.ended

  const impostor = await startImpostor(t, port)
  const call = command('carol', 'connect', 'bob@example.com')
  call.child.stdin.write('a secret\n')
  t.match(await call.ended, {
    code: 4,
    output: /what answers at 127\.0\.0\.1 port \d+ is not bob@example.com.*\nnothing was sent/
  })
  t.equal(impostor.heard(), '')

  const again = command('bob', 'up', '--port', '54321', '--announce-only')
  await again.printed('bob@example.com is online at port 54321')
  again.child.kill('SIGTERM')
  t.match(await again.ended, { code: 0 }, "the mark of one that was killed is in nobody's way")

  impostor.close()
  const same = command('bob', 'up', '--host', HOST, '--address', ANNOUNCED)
  await same.printed(`bob@example.com is online at port ${port};`)
})

t.test('the command says what went wrong, and what to do next', async (t) => {
  const tracker = await startTracker(t)
  const { command, run, init, dirOf, origin, relay } = tracker
  t.match(await run('alice', 'list'), { code: 1, output: /there is no identity in .*alice\nmake one: relay-peer init/ })
  t.match(await run('alice'), { code: 2, output: /Usage: relay-peer/ })
  t.match(await run('alice', 'fly'), { code: 2, output: /unknown command 'fly'/ })
  t.match(await run('alice', '--help'), { code: 0, output: /Exit codes:\n.*0 {2}done/ })
  t.match(await run('alice', 'connect', '--help'), {
    code: 0,
    output: /Examples:\n {2}relay-peer connect bob@example.com/
  })
  t.match(await run('alice', 'init', '--tracker', 'http://localhost', '--email', 'a@example.com'), { code: 2 })
  t.match(await run('alice', ...init('alice'), '--ca', dirOf('server.key')), {
    code: 2,
    output: /server.key is not a certificate/
  })
  const untrusted = ['init', '--tracker', origin, '--email', 'alice@example.com']
  t.match(await run('alice', ...untrusted), {
    code: 5,
    output: /cannot prove that it is the tracker: .*\nif it is your own tracker, .* --ca FILE/
  })
  for (const mistyped of ['https://127.0.0.1:1', 'https://tracker.invalid']) {
    t.match(await run('alice', 'init', '--tracker', mistyped, '--email', 'alice@example.com'), { code: 5 })
  }
  t.notOk(existsSync(dirOf('alice')), 'a mistyped tracker leaves nothing behind')
  t.match(await run('alice', ...init('alice')), { code: 0 }, 'the same again, with it')
  t.match(await run('alice', ...init('bob')), {
    code: 1,
    output: /is for alice@example.com at .*\nuse another folder/
  })
  await relay.register({ ...(await createPeer('bob')), email: 'bob@example.com' })
  const taken = { code: 1, output: /is registered with another certificate\nsomebody else registered it/ }
  t.match(await run('bob', ...init('bob')), taken)
  t.notOk(existsSync(dirOf('bob')), 'what was refused for good leaves nothing behind')
  t.match(await run('alice', ...init('alice')), { code: 0 })

  for (const port of ['x', '65536']) {
    t.match(await run('alice', 'up', '--port', port), {
      code: 2,
      output: `${port} is not a whole number from 0 to 65535`
    })
  }
  t.match(
    await run('alice', 'up', '--ttl', '30'),
    { code: 1, output: /ttl must be an integer from 60/ },
    'tracker’s limits'
  )
  t.match(await run('alice', 'up', '--announce-only'), { code: 2, output: /needs --port/ })
  t.match(await command('alice', 'up', '--announce-only', '--port', '0').ended, {
    code: 2,
    output: /port is not an integer from 1 to 65535/
  })
  t.match(await run('alice', 'lookup', 'nobody@example.com'), {
    code: 3,
    output: /\nsee who is online: relay-peer list/
  })
  t.match(await run('alice', 'lookup', 'nobody@example.com', '--json'), {
    code: 3,
    output: /^\{"error":".*","code":"peer_not_found","advice":".*"\}\n$/
  })
  t.match(await run('alice', 'lookup', 'bad'), { code: 2, output: /this is not an e-mail address: bad/ })
  t.match(await run('alice', 'connect', 'nobody@example.com'), { code: 3 })
  t.match(await run('alice', 'connect', 'alice@example.com'), { code: 1, output: /is this peer itself/ })

  t.match(await run('alice', 'down'), { code: 0, output: 'alice@example.com is offline\n' })
  const up = command('alice', 'up', '--host', HOST, '--address', ANNOUNCED)
  await up.printed('is online')
  await relay.call('/broadcast/ready', { method: 'DELETE' })
  await tracker.sql`delete from clients where email = 'alice@example.com'`
  await relay.register({ ...(await createPeer('thief')), email: 'alice@example.com' })
  t.match(await run('alice', 'list'), { code: 1, output: /register again: relay-peer init/ })
  await tracker.fastify.close()
  t.match(await run('alice', 'list'), { code: 5, output: /cannot be reached/ })
})

t.test('up waits for the tracker, and ends when waiting does not help', async (t) => {
  const tracker = await startTracker(t, { BROADCAST_TTL_SECONDS: '2' })
  const { command, run, init } = tracker
  await run('alice', ...init('alice'))
  await tracker.fastify.close()
  const up = command('alice', 'up', '--host', HOST, '--address', ANNOUNCED)
  await up.printed('trying again')
  await tracker.restart()
  await up.printed('is online')
  t.equal(up.output().split('trying again').length, 2, 'that is said once')
  await tracker.take('alice')
  t.match(await up.ended, { code: 1, output: /registered with another certificate/ })
})

t.test('up waits until an e-mail address is verified', async (t) => {
  let refusals = 2
  const { url, ca } = await startServer(t, ({ url }, response) => {
    const unverified = url?.endsWith('/ready') && refusals-- > 0
    const body = unverified
      ? { error: 'open the link', code: 'email_unverified' }
      : { client_id: '1', email_verification: 'pending', expires_in: 60, observed_address: null }
    response.writeHead(unverified ? 403 : 200, { 'reannounce-after': '30' }).end(JSON.stringify(body))
  })
  const cwd = t.testdir({ 'ca.crt': ca })
  const run = (...args: string[]) => start(t, 'peer/src/command/main.ts', { args: [...args, '--dir', 'alice'], cwd })
  const init = run('init', '--tracker', url, '--email', 'alice@example.com', '--ca', 'ca.crt')
  t.match(await init.ended, { code: 0, output: /Now open the link that was sent to alice@example.com/ })
  const up = run('up', '--port', '1', '--announce-only')
  await up.printed('is online')
  t.match(up.output(), /^open the link; trying again\nalice@example.com is online at port 1;/)
  up.child.kill('SIGTERM')
  t.match(await up.ended, { code: 0 })

  refusals = 1000
  const never = run('up', '--port', '1', '--announce-only', '--json')
  await never.printed('"type":"retrying"')
  never.child.kill('SIGTERM')
  t.match(await never.ended, { code: 0 })
  t.match(await runInProcess(runRelayPeer, ['list', '--help'], {}), { stdout: /\.relay-peer/ })
})

t.test('up survives callers that break off or send no lines, and withdraws when nobody reads its output', async (t) => {
  const { command, run, init, up } = await startTracker(t)
  await run('alice', ...init('alice'))
  const bob = await up('bob')
  const alice = command('alice', 'up', '--host', HOST, '--address', ANNOUNCED)
  await alice.printed('is online')
  const flood = await bob.connect('alice@example.com')
  flood.write('x'.repeat(70_000))
  await once(flood.resume(), 'close')
  await alice.printed('bob@example.com disconnected')
  const stranger = await createPeer('stranger')
  const { port } = await bob.lookup('alice@example.com')
  connect({ host: HOST, port, cert: stranger.certificate, key: stranger.privateKey, rejectUnauthorized: false }).on(
    'error',
    () => {}
  )
  await alice.printed('Refused a caller from 127.0.0.1')

  // What was not read makes the kernel reset the connection.
  bob.on('connection', (socket) => setTimeout(() => socket.destroy(), 2000))
  const call = command('alice', 'connect', 'bob@example.com')
  call.child.stdin.on('error', () => {}).write('x'.repeat(10_000_000))
  t.match(await call.ended, { code: 1, output: /the connection to bob@example.com broke/ })

  alice.child.stdout.destroy()
  const talk = await bob.connect('alice@example.com')
  talk.write('one\n')
  await once(talk.resume(), 'close')
  t.match(await alice.ended, { code: 141 }, 'nobody reads what it prints: it ends')
  await t.rejects(bob.lookup('alice@example.com'), { code: 'peer_not_found' }, 'and has withdrawn')
})

t.test('output that nobody reads any more ends a command as SIGPIPE ends others', async (t) => {
  const { run, init, inShell, sql } = await startTracker(t)
  await run('alice', ...init('alice'))
  await addPeers(sql, 3000)
  const quiet = { codes: '141 0', stderr: '' }
  t.match(await inShell('alice', 'command list | head -1'), { ...quiet, stdout: /^E-MAIL +PORT [^\n]*\n$/ })
  t.match(await inShell('alice', 'command list 2>&1 | head -1'), { ...quiet, stdout: /^E-MAIL [^\n]*\n$/ })
  t.match(await inShell('alice', 'command list --json | head -c 2'), { ...quiet, stdout: /^\[\{$/ })
  t.match(await inShell('alice', 'command watch | head -1'), { ...quiet, stdout: /^online peer-\d[^\n]*\n$/ })
  const full = { codes: '1', stdout: '', stderr: 'relay-peer: ENOSPC: no space left on device, write\n' }
  t.same(await inShell('alice', 'command list > /dev/full'), full)
})

t.test('forget asks on a terminal', async (t) => {
  const { command, run, init, dirOf, onTerminal, open, fastify } = await startTracker(t)
  await run('alice', ...init('alice'))
  t.match(await run('alice', 'forget'), { code: 2, output: /no terminal to ask on: add --yes/ })
  t.match(await onTerminal('alice', 'forget', 'n\n').ended, { code: 1, output: /nothing was changed/ })
  t.match(readFileSync(join(dirOf('alice'), 'identity.pem'), 'utf8'), 'PRIVATE KEY')
  t.match(await onTerminal('alice', 'forget', 'yes\n').ended, {
    code: 0,
    output: /alice@example.com is no longer registered/
  })
  t.notOk(existsSync(dirOf('alice')))

  await run('alice', ...init('alice'))
  const up = command('alice', 'up', '--host', HOST, '--address', ANNOUNCED)
  await up.printed('is online')
  t.match(await run('alice', 'forget', '--yes'), {
    code: 0,
    output: /^alice@example.com is no longer registered, and .* is deleted\n$/
  })
  t.match(await up.ended, { code: 0 })
  t.notOk(existsSync(dirOf('alice')))

  await run('alice', ...init('alice'))
  writeFileSync(join(dirOf('alice'), 'identity.pem'), 'nonsense')
  t.match(await run('alice', 'list'), { code: 1, output: /identity.pem is damaged: .*\n.*relay-peer forget/ })
  t.match(await run('alice', 'forget', '--yes'), { code: 0, output: /is deleted\. The tracker keeps its registration/ })
  t.notOk(existsSync(dirOf('alice')))

  await (await open('bob')).close()
  await fastify.close()
  t.match(await run('bob', 'forget', '--yes'), { code: 0 }, 'one that was never registered needs no tracker')
  t.match(await run('bob', 'forget', '--yes'), { code: 1, output: /there is no identity/ })
})
